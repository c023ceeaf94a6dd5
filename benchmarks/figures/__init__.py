"""What figures say, and how they are kept: nothing here measures or starts anything."""

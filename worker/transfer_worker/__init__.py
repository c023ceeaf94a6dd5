"""Who carries transfers out."""

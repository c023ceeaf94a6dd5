"""Figures as people read them: tables, pictures, the page of the documents."""

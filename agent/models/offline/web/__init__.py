"""The rules for pages of the web: opened, read, compared, printed, pictured and downloaded from."""

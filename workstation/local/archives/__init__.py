"""Archives of the workspace: packed as tar, unpacked from tar or zip, whoever made them."""

"""Pages as people have them before them, made of code, and a site on loopback that serves them."""

"""Protocol buffer contracts, version 1, with the generated code beside them."""

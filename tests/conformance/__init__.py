"""One suite for every workstation. A package, so that its warm browser is closed when its last test is done."""

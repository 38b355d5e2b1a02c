"""The local Browser: Chromium by Playwright, in a jail whose only way out is the egress proxy."""

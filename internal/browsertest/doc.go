// Package browsertest tests the pages in a real browser: Debian's Chromium, driven by
// playwright-core from web/test, against stations with file-backed disks.
package browsertest

// Package browsertest tests the pages in a real browser: Debian's Chromium, driven by
// playwright-core from web/test, against a station with a file-backed disk, and against netbootd
// with stations that are the real programs with loop devices.
package browsertest

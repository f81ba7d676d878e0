// Package stations is a boot server's list of the Raspberry Pis that it knows, what they
// said last, and the receipts of what was written on them. Both survive a restart.
package stations

// Package imagestore keeps disk images in a directory and serves them over HTTP so that
// a download can be resumed: with ranges, with strong entity tags that survive a restart
// and change with the content, and with a SHA-256 that is computed once.
//
// Images are files of that directory and nothing below it. People may put them there
// with other programs; Upload puts them there in one step, when they are whole.
package imagestore

// Package bench measures the imager against the tools that people use for the same work,
// and against the slowest of wire, decoder and medium alone.
//
// Everything runs in one go: the real imager is started and asked over HTTP as users do
// it, its peers are started as users type them, and they take turns for several rounds.
// What comes out are medians, ratios of medians, a table and a plot in docs/.
//
// An Env holds what rounds need: images in all formats, an image server, targets. A
// Contender is one way to write an image; a Case is a format on a target over a wire.
package bench

// Package bootserver is netbootd's HTTP service: images and configuration for stations,
// the list of stations and what can be done with them, and the receiving side of
// `gok update`.
//
// Every response is JSON unless said otherwise; every failure is
// {"success":false,"error":"…"} with a sentence that says what happened and what to do.
// /health is open; everything else needs an allowed client address (the TCP peer), and
// what changes something needs the token, or for `gok update` gokrazy's password.
package bootserver

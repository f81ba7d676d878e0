// Package redeploy is the receiving side of `gok update` for stations that run from RAM:
// what gok sends becomes a netboot tree, which is served to all stations by one rename.
//
// The protocol is that of github.com/gokrazy/gokrazy (update.go, status.go,
// authenticated.go) and github.com/gokrazy/updater: gok asks for /update/features, PUTs the
// root and boot file systems and the MBR, compares the checksum that is answered, POSTs
// /update/switch or /update/testboot and /reboot, and then polls the status at / until it
// shows the time of the build.
//
// That time is shown when the tree is served and, where stations were there at the switch,
// when one of them says that it runs the build. Stations that do not write are told to
// reboot; others when they are done. With testboot one station gets the tree first; all
// others get it when that one has said that it is well.
package redeploy

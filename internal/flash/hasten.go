package flash

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// decoderNice is the nice value of the thread that decodes; others have 0.
const decoderNice = -10

// hasten has the calling goroutine run before others until it ends: on few cores a decoder
// that takes turns with digests and writers, which wait for it, makes all of them late.
// Without the privilege to it, nothing changes.
func hasten() {
	runtime.LockOSThread() // and never unlocked, so that the thread ends with the goroutine
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), decoderNice)
}

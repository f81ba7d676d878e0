package lab

import (
	"os/exec"
	"runtime"
	"syscall"
)

// Process is a program that was started in a network. It dies with this process.
type Process struct {
	// Done is closed when the program has ended.
	Done <-chan struct{}

	cmd *exec.Cmd
	err error
}

// Err is how the program ended; call it after Done.
func (p *Process) Err() error { return p.err }

// Kill ends the program at once and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.Done
}

// start starts a program on a thread that lives as long as the program, because the
// kernel sends Pdeathsig when the thread that started it ends. enter is called on that
// thread before.
func start(cmd *exec.Cmd, enter func() error) (*Process, error) {
	done := make(chan struct{})
	p := &Process{Done: done, cmd: cmd}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread may be in another namespace
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		err := enter()
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

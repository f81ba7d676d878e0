package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/openseastack/netboot-imager/internal/station"
	"github.com/openseastack/netboot-imager/internal/zerotouch"
)

// zeroTouch has s write what the kernel parameters ask for, in the background. Parameters
// that make no sense are logged: the station must stay reachable.
func (p *program) zeroTouch(ctx context.Context, s *station.Server) {
	line, err := os.ReadFile(filepath.Join(p.env.system.Proc, "cmdline"))
	if err != nil {
		return // no kernel command line, no parameter
	}
	task, err := zerotouch.Parse(string(line))
	if err != nil {
		p.logf("zero touch: %v; nothing is written", err)
		s.Note(fmt.Sprintf("Zero touch: %v; nothing is written", err))
	}
	if task == nil {
		return
	}
	go func() {
		err := zerotouch.Run(ctx, s, task, func() error { return p.switchOff(ctx) }, p.logf, zerotouch.After)
		if err != nil {
			s.Note(fmt.Sprintf("Zero touch: %v; nothing was written", err))
		}
	}()
}

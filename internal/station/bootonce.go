package station

// bootOnce has the machine boot the disk that a job wrote, once, whatever the order of its
// boot devices. A machine that cannot does without: the write is good either way.
func (s *Server) bootOnce(j *job) {
	if s.opt.BootOnce == nil {
		return
	}
	if err := s.opt.BootOnce(s.machine().Model(), j.device); err != nil {
		s.opt.Logf("job %s: the next boot is as always: %v", j.id, err)
		return
	}
	s.opt.Logf("job %s: the next boot is from %s", j.id, j.device)
}

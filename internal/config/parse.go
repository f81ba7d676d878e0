package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// hashComments turns "#" comments outside strings and outside other comments into
// "//" comments, of the same length so that positions in errors stay true: the "#"
// and the character behind it become "//"; a lone "#" at a line's end becomes a space.
func hashComments(text []byte) []byte {
	out := bytes.Clone(text)
	const (
		code = iota
		str
		line
		block
	)
	state := code
	for i := 0; i < len(out); i++ {
		c := out[i]
		next := byte('\n')
		if i+1 < len(out) {
			next = out[i+1]
		}
		switch state {
		case code:
			switch {
			case c == '"':
				state = str
			case c == '/' && next == '/':
				state = line
			case c == '/' && next == '*':
				state = block
				i++
			case c == '#' && (next == '\n' || next == '\r'):
				out[i] = ' '
			case c == '#':
				// The next byte may begin a multi-byte character: blank all of it.
				out[i], out[i+1] = '/', '/'
				for j := i + 2; j < len(out) && out[j]&0xC0 == 0x80; j++ {
					out[j] = ' '
				}
				state = line
			}
		case str:
			if c == '\\' {
				i++
			} else if c == '"' || c == '\n' {
				state = code
			}
		case line:
			if c == '\n' {
				state = code
			}
		case block:
			if c == '*' && next == '/' {
				state = code
				i++
			}
		}
	}
	return out
}

// parsePrefix reads an address or a CIDR prefix. Bits set behind the mask are cleared:
// "10.10.200.75/24" is the subnet 10.10.200.0/24, as everywhere else (Parse adds a warning).
func parsePrefix(s string) (netip.Prefix, error) {
	t := strings.TrimSpace(s)
	if !strings.Contains(t, "/") {
		a, err := netip.ParseAddr(t)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix; write it like 10.10.200.75 or 10.10.200.0/24", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(t)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a prefix; write it like 10.10.200.0/24", s)
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q is wider than the IPv4-mapped range; write the IPv4 prefix itself", s)
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// parseHost reads an entry of image_hosts: an address, a prefix or a host name.
func parseHost(s string) (Host, error) {
	t := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), ".")
	if p, err := parsePrefix(t); err == nil {
		return Host{Prefix: p}, nil
	} else if strings.ContainsAny(t, "/:") || looksNumeric(t) {
		return Host{}, fmt.Errorf("%w (a host name stands without scheme, port or path)", err)
	}
	if !validName(t) {
		return Host{}, fmt.Errorf("%q is neither an address, a prefix nor a host name", s)
	}
	return Host{Name: t}, nil
}

// looksNumeric reports whether the last label is a number: such a name is a mistyped
// address ("10.10.200", "10.10.200.300"), never a host name (RFC 3696, section 2).
func looksNumeric(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// validName reports whether s is a host name of RFC 1123, underscores allowed.
func validName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

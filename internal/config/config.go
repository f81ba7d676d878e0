// Package config loads and validates the imager's config.json.
//
// The file is JSON as people write it by hand: "#" and "//" comments, /* */ and
// trailing commas are accepted (they stand in the README of the service that this
// one replaces, and get pasted). Unknown keys are refused: a misspelt key must not
// silently leave a default in force.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// PublishedSecret is the default token of the service that this one replaces. It is
// in public source code, so whoever uses it is warned at start.
const PublishedSecret = "openseastack-netboot-2024"

// DefaultPort is the TCP port that is served when the config does not name one.
const DefaultPort = 8888

// Respond says when POST /write-image answers.
type Respond string

const (
	RespondDone    Respond = "done"    // when the write has ended
	RespondStarted Respond = "started" // when image and disk are known to be good and the write begins
)

// Valid reports whether r is one of the two values.
func (r Respond) Valid() bool { return r == RespondDone || r == RespondStarted }

// Config is a validated configuration. Only Parse makes one.
type Config struct {
	AllowedIPs     []netip.Prefix // clients, and hosts that images may come from; at least one
	SharedSecret   string         // token of the X-Netboot-Token header; never empty, never logged
	Port           int            // 1..65535
	AllowedDevices []string       // whole disks (or existing regular files) that may be written; clean absolute paths
	ImageHosts     []Host         // further hosts that images may come from
	Verify         bool           // read the disk back before success is claimed
	Respond        Respond
	StallTimeout   time.Duration // no byte of progress for this long ends a job; > 0
	Reboot         bool          // reboot after a successful write
	BootOnce       bool          // after a successful write, boot that disk once, on models that can

	Warnings []string // sentences worth a line in the log at start
}

// Host is an image host: either a prefix of addresses or a host name.
type Host struct {
	Prefix netip.Prefix // valid unless Name is set
	Name   string       // lower case, without a trailing dot
}

func (h Host) String() string {
	if h.Name != "" {
		return h.Name
	}
	return h.Prefix.String()
}

// file is config.json as it is written; pointers tell "unset" from the zero value.
type file struct {
	AllowedIPs     []string `json:"allowed_ips"`
	SharedSecret   *string  `json:"shared_secret"`
	Port           *int     `json:"port"`
	AllowedDevices []string `json:"allowed_devices"`
	ImageHosts     []string `json:"image_hosts"`
	Verify         *bool    `json:"verify"`
	Respond        *Respond `json:"respond"`
	StallTimeout   *string  `json:"stall_timeout"`
	Reboot         *bool    `json:"reboot"`
	BootOnce       *bool    `json:"boot_once"`
}

// Keys are the keys that config.json may have.
var Keys = []string{"allowed_ips", "shared_secret", "port", "allowed_devices", "image_hosts",
	"verify", "respond", "stall_timeout", "reboot", "boot_once"}

// MaxSize is the size in bytes beyond which a config is refused.
const MaxSize = 1 << 20

// Parse reads a config. The error is one sentence that names the key and the fix, but
// not where the text came from: the caller knows that.
func Parse(text []byte) (*Config, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("is larger than %d bytes, which no imager config is", MaxSize)
	}
	std, err := Standardize(text)
	if err != nil {
		return nil, err
	}
	if err := checkKeys(std); err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(std, &f); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) && te.Field != "" {
			return nil, fmt.Errorf("key %q is a %s; it must be %s", te.Field, te.Value, typeWords[te.Field])
		}
		return nil, fmt.Errorf("is not JSON: %w", err)
	}
	return f.validate()
}

// typeWords says what each key must be, for the error about a value of another type.
var typeWords = map[string]string{
	"allowed_ips":     `a list of addresses or prefixes, like ["10.10.200.75", "10.10.200.0/24"]`,
	"shared_secret":   `a string in double quotes`,
	"port":            `a number from 1 to 65535, without quotes`,
	"allowed_devices": `a list of disks, like ["/dev/mmcblk0"]`,
	"image_hosts":     `a list of addresses, prefixes or host names`,
	"verify":          `true or false`,
	"respond":         `"done" or "started"`,
	"stall_timeout":   `a duration in double quotes, like "2m"`,
	"reboot":          `true or false`,
	"boot_once":       `true or false`,
}

// checkKeys refuses keys that no config has, whatever their letter case: encoding/json
// would take "Port" for "port".
func checkKeys(std []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(std, &m); err != nil || m == nil {
		return errors.New(`must be one JSON object, like {"allowed_ips": ["10.10.200.75"], "shared_secret": "…"}`)
	}
	var unknown []string
	for k := range m {
		if !slices.Contains(Keys, k) {
			unknown = append(unknown, k)
		}
	}
	slices.Sort(unknown)
	if len(unknown) > 0 {
		return fmt.Errorf("unknown key %q; remove it or correct its name (known keys: %s)", unknown[0], strings.Join(Keys, ", "))
	}
	return nil
}

func (f *file) validate() (*Config, error) {
	c := &Config{Port: DefaultPort, Verify: true, Respond: RespondDone, StallTimeout: 2 * time.Minute,
		AllowedDevices: []string{"/dev/mmcblk0", "/dev/nvme0n1"}}

	if len(f.AllowedIPs) == 0 {
		return nil, errors.New(`key "allowed_ips" is missing or empty, so nobody could use the service; list the netboot server's address or subnet, like ["10.10.200.75"]`)
	}
	for _, s := range f.AllowedIPs {
		p, err := parsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf(`key "allowed_ips": %w`, err)
		}
		if a, _, _ := strings.Cut(strings.TrimSpace(s), "/"); strings.Contains(s, "/") && a != p.Addr().String() {
			c.Warnings = append(c.Warnings, fmt.Sprintf(`allowed_ips: %q lets the whole subnet %s in; write the address without "/%d" to let only that one in`, s, p, p.Bits()))
		}
		c.AllowedIPs = append(c.AllowedIPs, p)
	}

	if f.SharedSecret == nil || strings.TrimSpace(*f.SharedSecret) == "" {
		return nil, errors.New(`key "shared_secret" is missing or empty; set it to the token that the netboot server sends in X-Netboot-Token`)
	}
	c.SharedSecret = *f.SharedSecret
	if c.SharedSecret == PublishedSecret {
		c.Warnings = append(c.Warnings, "shared_secret is the one published in the old service's source code, so everybody knows it; choose another")
	}

	if f.Port != nil {
		if *f.Port < 1 || *f.Port > 65535 {
			return nil, fmt.Errorf(`key "port" is %d; it must be %s`, *f.Port, typeWords["port"])
		}
		c.Port = *f.Port
	}

	if f.AllowedDevices != nil {
		if len(f.AllowedDevices) == 0 {
			return nil, errors.New(`key "allowed_devices" is an empty list, so nothing could be written; list disks or remove the key for the default`)
		}
		for _, d := range f.AllowedDevices {
			if !filepath.IsAbs(d) || filepath.Clean(d) != d || d == "/" || strings.ContainsRune(d, 0) {
				return nil, fmt.Errorf(`key "allowed_devices": %q is not a plain absolute path; write it like "/dev/mmcblk0", without "..", "//" or a slash at the end`, d)
			}
		}
		c.AllowedDevices = f.AllowedDevices
	}

	for _, s := range f.ImageHosts {
		h, err := parseHost(s)
		if err != nil {
			return nil, fmt.Errorf(`key "image_hosts": %w`, err)
		}
		c.ImageHosts = append(c.ImageHosts, h)
	}

	if f.Verify != nil {
		c.Verify = *f.Verify
	}
	if f.Respond != nil {
		if !f.Respond.Valid() {
			return nil, fmt.Errorf(`key "respond" is %q; it must be %s`, *f.Respond, typeWords["respond"])
		}
		c.Respond = *f.Respond
	}
	if f.StallTimeout != nil {
		d, err := time.ParseDuration(*f.StallTimeout)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf(`key "stall_timeout" is %q; it must be %s`, *f.StallTimeout, typeWords["stall_timeout"])
		}
		c.StallTimeout = d
	}
	if f.Reboot != nil {
		c.Reboot = *f.Reboot
	}
	if f.BootOnce != nil {
		c.BootOnce = *f.BootOnce
	}
	return c, nil
}

// Describe says in one line what the config allows, without the secret.
func (c *Config) Describe() string {
	ips := make([]string, len(c.AllowedIPs))
	for i, p := range c.AllowedIPs {
		ips[i] = p.String()
	}
	hosts := append(slices.Clone(ips), hostStrings(c.ImageHosts)...)
	return fmt.Sprintf("clients %s may write %s with images from %s (verify %v, respond %s, stall timeout %v, reboot %v)",
		strings.Join(ips, " "), strings.Join(c.AllowedDevices, " "), strings.Join(hosts, " "),
		c.Verify, c.Respond, c.StallTimeout, c.Reboot)
}

func hostStrings(hs []Host) []string {
	out := make([]string, len(hs))
	for i, h := range hs {
		out[i] = h.String()
	}
	return out
}

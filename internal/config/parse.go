package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"genkan/internal/finding"
	"genkan/internal/keys"
	"genkan/internal/origin"
)

// assign takes a text as it is; setting.check has already compared it with oneOf.
func assign[S ~string](to *S, v value) refusals {
	*to = S(v.text)
	return nil
}

func assignList(to *[]string, v value) refusals {
	*to = v.list
	return nil
}

func assignSecret(to *keys.Secret, v value) refusals {
	*to = keys.NewSecret(v.text)
	return nil
}

func assignBool(to *bool, v value) refusals {
	if v.text != "true" && v.text != "false" {
		return refuse("Write true or false.", "%s is neither true nor false", quote(v.text))
	}
	*to = v.text == "true"
	return nil
}

// assignPath makes a relative path one below the folder the program was started in.
func assignPath(to *string, v value) refusals {
	*to = under(v.dir, v.text)
	return nil
}

func under(dir, path string) string {
	if dir == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

var days = regexp.MustCompile(`^([0-9]{1,4})d$`)

func assignDuration(to *time.Duration, v value) refusals {
	d, err := time.ParseDuration(v.text)
	if err != nil {
		fix := "Write a number and a unit, for example 90s, 30m or 12h."
		if m := days.FindStringSubmatch(v.text); m != nil {
			n, _ := strconv.Atoi(m[1])
			fix = "Write " + strconv.Itoa(24*n) + "h."
		}
		return refuse(fix, "%s is not a length of time", quote(v.text))
	}
	if d < 0 {
		return refuse("Write a positive length of time.", "%s is negative", quote(v.text))
	}
	*to = d
	return nil
}

// assignPositive is assignDuration for a limit, of which 0 would mean none.
func assignPositive(to *time.Duration, v value) refusals {
	if bad := assignDuration(to, v); bad != nil {
		return bad
	}
	if *to == 0 {
		return refuse("Write a positive length of time.", "it is 0, and there is no unlimited")
	}
	return nil
}

var (
	sizeForm = regexp.MustCompile(`^([0-9]{1,12}) ?([kKMG]?i?B?)$`)
	units    = map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}
)

func assignSize(to *int64, v value) refusals {
	const fix = "Write a number and a unit, for example 512KiB or 10MiB."
	m := sizeForm.FindStringSubmatch(v.text)
	if m == nil || units[m[2]] == 0 {
		return refuse(fix, "%s is not a size", quote(v.text))
	}
	n, _ := strconv.ParseInt(m[1], 10, 64) // at most twelve digits
	if n == 0 || n > (1<<40)/units[m[2]] {
		return refuse(fix, "%s is not between 1 byte and 1024GiB", quote(v.text))
	}
	*to = n * units[m[2]]
	return nil
}

// assignAddress reads host:port to listen on.
func assignAddress(to *string, v value) refusals {
	const fix = "Write host:port, for example localhost:8000 or 0.0.0.0:8000."
	host, port, err := net.SplitHostPort(v.text)
	if err != nil || strings.ContainsAny(host, "/ @") {
		return refuse(fix, "%s is not host:port", quote(v.text))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return refuse(fix, "%s has a port that is not a number from 0 to 65535", quote(v.text))
	}
	*to = v.text
	return nil
}

// assignPrefixes reads CIDRs; a plain address stands for itself.
func assignPrefixes(to *[]netip.Prefix, v value) (bad refusals) {
	for _, text := range v.list {
		prefix, err := netip.ParsePrefix(text)
		if addr, errAddr := netip.ParseAddr(text); errAddr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		switch {
		case err != nil:
			bad = append(bad, refuse("Write addresses such as 10.0.0.0/8 or 192.0.2.7.", "%s is not a CIDR", quote(text))...)
		case prefix.Bits() == 0:
			bad = append(bad, refuse("List the proxy's own addresses.", "%s trusts everybody: any client could forge its address and scheme", quote(text))...)
		default:
			*to = append(*to, prefix.Masked())
		}
	}
	return bad
}

// assignOrigins reads exact origins. Two that are equal, or cannot work together,
// are for package origin to judge.
func assignOrigins(to *[]origin.Origin, v value) (bad refusals) {
	for _, text := range v.list {
		o, err := origin.Parse(text)
		switch {
		case err == nil:
			*to = append(*to, o)
		case strings.Contains(text, "*") || text == "null":
			bad = append(bad, refusal{row: finding.OriginWildcard, detail: quote(text) + " stands for more than one origin"})
		case strings.Contains(text, "@"): // what stands before it may be a password
			bad = append(bad, refusal{row: finding.URLInvalid, detail: "it has more than scheme, host and port"})
		default:
			bad = append(bad, refusal{row: finding.URLInvalid, detail: quote(text) + ": " + err.Error()})
		}
	}
	return bad
}

var prefixForm = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9_.~-]*)+$`)

func assignPrefix(to *string, v value) refusals {
	if !prefixForm.MatchString(v.text) {
		return refuse("Write a path such as /bff.", "%s is not a plain path that begins with / and does not end with one", quote(v.text))
	}
	*to = v.text
	return nil
}

// maxCount bounds every setting that counts something.
const maxCount = 1000

func assignCount(to *int, v value) refusals {
	n, err := strconv.ParseUint(v.text, 10, 16)
	if err != nil || n > maxCount {
		return refuse("Write a whole number from 0 to "+strconv.Itoa(maxCount)+".", "%s is not a number from 0 to %d", quote(v.text), maxCount)
	}
	*to = int(n)
	return nil
}

func assignKeys(to *[]keys.Secret, v value) (bad refusals) {
	for _, text := range v.list {
		*to = append(*to, keys.NewSecret(text))
	}
	if len(*to) == 0 {
		return nil
	}
	_, err := keys.Parse(*to)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	for _, err := range joined.Unwrap() {
		row, keyError := finding.KeyInvalid, (*keys.KeyError)(nil)
		if errors.Is(err, keys.ErrDuplicate) {
			row = finding.KeyDuplicate
		}
		if errors.As(err, &keyError) {
			bad = append(bad, refusal{row: row, detail: keyError.Error()})
		}
	}
	return bad
}

// minToken is the length of 96 random bits in base64.
const minToken = 16

func assignToken(to *keys.Secret, v value) refusals {
	if len(v.text) < minToken {
		return refuse("Write a long random one, for example what `genkan keys new` prints.", "it is shorter than %d characters and can be guessed", minToken)
	}
	return assignSecret(to, v)
}

func assignLevel(to *slog.Level, v value) refusals {
	_ = to.UnmarshalText([]byte(v.text)) // setting.check has compared it with oneOf
	return nil
}

// reason is why a file cannot be read, without its path, which stands beside it.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

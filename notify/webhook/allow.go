package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// An Allow is the operator's list of where webhooks may go. It is asked twice: about the address that somebody enters, and
// about each IP address at the moment of connecting, for a name may come to mean another machine.
//
// An entry is a host (hooks.example.cn, *.example.cn), for https only, or an IP address or range (10.1.2.3, 10.1.0.0/16,
// fd00::/8), for https and http. A port may follow (hooks.example.cn:8443, 10.1.2.3:8080, [fd00::/8]:8080), or :* for any; without
// one only the scheme's own counts. A host that leads to an address which is not public needs that address named, too.
type Allow struct {
	hosts    []hostEntry
	prefixes []prefixEntry
}

type hostEntry struct {
	name string // lower case; with wild, what must follow a dot
	wild bool
	port portRule
}

type prefixEntry struct {
	prefix netip.Prefix
	port   portRule
}

// A portRule is one port; 0 is that of the scheme, anyPort any.
type portRule int

const anyPort portRule = -1

func (p portRule) allows(port int, scheme string) bool {
	return p == anyPort || int(p) == port || p == 0 && port == defaultPort(scheme)
}

func defaultPort(scheme string) int {
	if scheme == "http" {
		return 80
	}
	return 443
}

// Empty says that webhooks are off.
func (a *Allow) Empty() bool { return a == nil || len(a.hosts)+len(a.prefixes) == 0 }

// ParseAllow reads the operator's list, one entry an element.
func ParseAllow(entries []string) (*Allow, error) {
	a := &Allow{}
	var errs []error
	for _, text := range entries {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if err := a.add(text); err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", text, err))
		}
	}
	return a, errors.Join(errs...)
}

func (a *Allow) add(text string) error {
	host, port, err := splitEntry(text)
	if err != nil {
		return err
	}
	if prefix, err := netip.ParsePrefix(host); err == nil {
		if prefix.Masked() != prefix {
			return fmt.Errorf("the range is %s", prefix.Masked())
		}
		return a.addPrefix(prefix, port)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return errors.New("an address with a zone is none that others know")
		}
		return a.addPrefix(netip.PrefixFrom(addr, addr.BitLen()), port)
	}
	name, wild := strings.CutPrefix(strings.ToLower(host), "*.")
	if !isHostName(name) {
		return errors.New("want a host such as hooks.example.cn, or an IP address or range such as 10.1.0.0/16")
	}
	a.hosts = append(a.hosts, hostEntry{name, wild, port})
	return nil
}

func (a *Allow) addPrefix(prefix netip.Prefix, port portRule) error {
	switch {
	case prefix.Addr().Is4In6():
		return errors.New("write an IPv4 address as such")
	case prefix.Bits() == 0:
		return errors.New("everything is no range: name what is meant")
	}
	a.prefixes = append(a.prefixes, prefixEntry{prefix, port})
	return nil
}

// splitEntry parts an entry from its port. A bare IPv6 address or range has colons of its own.
func splitEntry(text string) (host string, port portRule, err error) {
	host = text
	switch {
	case strings.HasPrefix(text, "["):
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return "", 0, errors.New("a ] is missing")
		}
		rest := text[end+1:]
		host = text[1:end]
		if rest == "" {
			return host, 0, nil
		}
		if rest[0] != ':' {
			return "", 0, errors.New("after ] only a port may follow")
		}
		port, err = parsePort(rest[1:])
	case strings.Count(text, ":") == 1:
		name, p, _ := strings.Cut(text, ":")
		host = name
		port, err = parsePort(p)
	}
	return host, port, err
}

func parsePort(text string) (portRule, error) {
	if text == "*" {
		return anyPort, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port", text)
	}
	return portRule(n), nil
}

// isHostName keeps out what a resolver might read as an address: the last label has a letter.
func isHostName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.ContainsFunc(l, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
		}) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return strings.ContainsFunc(last, func(r rune) bool { return r >= 'a' && r <= 'z' }) && !strings.HasPrefix(last, "0x")
}

// Reasons why an address is refused, in plain Chinese for whoever enters it.
var (
	errNoURL     = errors.New("应为完整地址，例如 https://hooks.example.cn/emsd")
	errUserinfo  = errors.New("地址中不能带用户名或密码")
	errFragment  = errors.New("地址中不能带 # 片段")
	errNotListed = errors.New("该主机或端口不在允许名单中，请联系运维人员（EMSD_WEBHOOK_ALLOW）")
	errPlainHTTP = errors.New("http 只允许用于名单中写明的 IP 地址或网段，其他地址请使用 https")
)

// maxURL bounds what is stored and sent.
const maxURL = 2000

// Check says whether an address may be entered and posted to, before anybody resolves its host.
func (a *Allow) Check(raw string) error {
	if len(raw) > maxURL {
		return errNoURL
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "" {
		return errNoURL
	}
	if u.User != nil {
		return errUserinfo
	}
	if u.Fragment != "" {
		return errFragment
	}
	port := defaultPort(u.Scheme)
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return errNoURL
		}
		port = int(n)
	} else if strings.HasSuffix(u.Host, ":") {
		return errNoURL
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if addr.Zone() != "" || !a.names(addr.Unmap(), port, u.Scheme) {
			return errNotListed
		}
		return nil
	}
	host := strings.ToLower(u.Hostname())
	if !isHostName(host) { // also 127.1, 2130706433 and 0x7f.1, which a resolver would take for addresses
		return errNoURL
	}
	if u.Scheme == "http" {
		return errPlainHTTP
	}
	for _, h := range a.hosts {
		if h.matches(host) && h.port.allows(port, u.Scheme) {
			return nil
		}
	}
	return errNotListed
}

func (h hostEntry) matches(host string) bool {
	if h.wild {
		return strings.HasSuffix(host, "."+h.name)
	}
	return host == h.name
}

func (a *Allow) names(addr netip.Addr, port int, scheme string) bool {
	for _, p := range a.prefixes {
		if p.prefix.Contains(addr) && p.port.allows(port, scheme) {
			return true
		}
	}
	return false
}

// errAddress is told when a connection would go where it must not.
var errAddress = errors.New("the address is none that EMSD_WEBHOOK_ALLOW names, and not public")

// dial says whether a connection may be made to an address that a name has come to: one that the list names, or a public
// one. It is asked by the dialer, so nothing can change between the question and the connection.
func (a *Allow) dial(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return errAddress
	}
	addr := ap.Addr().Unmap()
	if addr.Zone() == "" && (a.names(addr, int(ap.Port()), "https") || a.names(addr, int(ap.Port()), "http")) {
		return nil
	}
	if !isPublic(addr) {
		return errAddress
	}
	return nil
}

// reserved are ranges that net/netip does not know to be special: shared and test networks, and IPv6 forms that carry an
// IPv4 address, which would lead around the ranges above.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

func isPublic(addr netip.Addr) bool {
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.Zone() != "" {
		return false
	}
	for _, p := range reserved {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// control is net.Dialer.Control.
func (a *Allow) control(network, address string) error {
	if network != "tcp4" && network != "tcp6" {
		return &net.AddrError{Err: "not TCP", Addr: network}
	}
	return a.dial(address)
}

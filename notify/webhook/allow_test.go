package webhook

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustAllow(t testing.TB, entries ...string) *Allow {
	t.Helper()
	a, err := ParseAllow(entries)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAllowEntries(t *testing.T) {
	t.Parallel()
	good := []string{"hooks.example.cn", "*.example.cn", "HOOKS.example.cn:8443", "10.1.2.3", "10.1.0.0/16", "10.1.2.3:8080", "10.1.0.0/16:*",
		"::1", "fd00::/8", "[fd00::/8]:8080", "[::1]:*", " hooks.example.cn ", ""}
	for _, e := range good {
		if _, err := ParseAllow([]string{e}); err != nil {
			t.Errorf("%q: %v", e, err)
		}
	}
	bad := []string{"https://hooks.example.cn", "hooks.example.cn/path", "*", "*.", "ex ample.cn", "10.1.2.3/16", "0.0.0.0/0", "::/0", "10.1.2.3:0", "10.1.2.3:99999",
		"[::1", "[::1]x", "::ffff:10.1.2.3", "fe80::1%eth0", "1.2.3", "0x7f.1", "host:http", "-x.cn", "例子.cn"}
	for _, e := range bad {
		if _, err := ParseAllow([]string{e}); err == nil || !strings.Contains(err.Error(), e) {
			t.Errorf("%q: %v, want an error that names it", e, err)
		}
	}
	if !mustAllow(t, "", " ").Empty() || mustAllow(t, "::1").Empty() || !(*Allow)(nil).Empty() {
		t.Error("Empty is wrong")
	}
}

func TestAddressesThatMayBeEntered(t *testing.T) {
	t.Parallel()
	a := mustAllow(t, "hooks.example.cn", "*.gov.example", "alt.example.cn:8443", "any.example.cn:*", "10.1.0.0/16", "127.0.0.1:8080", "[fd00::/8]:*")
	tests := []struct {
		url  string
		want error
	}{
		{"https://hooks.example.cn/emsd?x=1", nil}, {"https://HOOKS.example.cn", nil}, {"https://hooks.example.cn:443/", nil},
		{"https://a.gov.example/", nil}, {"https://a.b.gov.example/", nil}, {"https://gov.example/", errNotListed}, {"https://evilgov.example/", errNotListed},
		{"https://alt.example.cn:8443/", nil}, {"https://alt.example.cn/", errNotListed}, {"https://any.example.cn:7/", nil},
		{"https://hooks.example.cn:22/", errNotListed}, {"https://hooks.example.cn:0/", errNoURL}, {"https://hooks.example.cn:/", errNoURL}, {"https://hooks.example.cn:99999/", errNoURL},
		{"http://hooks.example.cn/", errPlainHTTP}, {"https://other.example.cn/", errNotListed},
		{"http://10.1.2.3/", nil}, {"https://10.1.2.3/", nil}, {"http://10.1.2.3:443/", errNotListed}, {"http://10.1.2.3:8080/", errNotListed}, {"http://10.2.2.3/", errNotListed},
		{"http://127.0.0.1:8080/", nil}, {"http://127.0.0.1/", errNotListed}, {"http://127.0.0.2:8080/", errNotListed},
		{"http://[::ffff:127.0.0.1]:8080/", nil}, {"http://[::ffff:10.2.2.3]/", errNotListed}, {"http://[fd00::1]:99/", nil}, {"http://[fe80::1]/", errNotListed},
		{"http://[fd00::1%25eth0]:99/", errNotListed},
		{"https://user@hooks.example.cn/", errUserinfo}, {"https://user:pw@hooks.example.cn/", errUserinfo}, {"https://hooks.example.cn@evil.example/", errUserinfo},
		{"https://hooks.example.cn/#x", errFragment}, {"ftp://hooks.example.cn/", errNoURL}, {"hooks.example.cn", errNoURL}, {"//hooks.example.cn/", errNoURL}, {"", errNoURL},
		{"https:///x", errNoURL}, {"https:hooks.example.cn", errNoURL}, {"http://0.0.0.0/", errNotListed}, {"http://127.1:8080/", errNoURL}, {"http://2130706433/", errNoURL},
		{"http://0x7f.0.0.1/", errNoURL}, {"http://localhost:8080/", errPlainHTTP}, {"https://localhost/", errNotListed}, {"http://169.254.169.254/latest", errNotListed},
		{"https://hooks.example.cn./", errNoURL}, {"https://hooks.example.cn/" + strings.Repeat("x", maxURL), errNoURL}, {"https://hooks.example.cn\\@evil/", errNoURL},
	}
	for _, tt := range tests {
		if got := a.Check(tt.url); got != tt.want {
			t.Errorf("%.80s: %v, want %v", tt.url, got, tt.want)
		}
	}
}

// TestAddressesThatMayBeConnectedTo is about what a name may come to: public addresses, and the ones named.
func TestAddressesThatMayBeConnectedTo(t *testing.T) {
	t.Parallel()
	a := mustAllow(t, "hooks.example.cn", "10.1.0.0/16", "127.0.0.1:8080")
	open := []string{"8.8.8.8:443", "[2400:3200::1]:443", "10.1.2.3:443", "10.1.2.3:80", "127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", "[::ffff:8.8.8.8]:443"}
	for _, addr := range open {
		if err := a.dial(addr); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	shut := []string{"10.1.2.3:22", "10.2.2.3:443", "192.168.1.1:443", "172.16.0.1:443", "127.0.0.1:443", "127.0.0.2:8080", "0.0.0.0:443", "0.1.2.3:443",
		"169.254.169.254:80", "100.64.0.1:443", "192.0.0.1:443", "192.0.2.1:443", "198.18.0.1:443", "198.51.100.1:443", "203.0.113.1:443", "224.0.0.1:443", "240.0.0.1:443", "255.255.255.255:443",
		"[::1]:443", "[::]:443", "[fe80::1]:443", "[fe80::1%eth0]:443", "[fc00::1]:443", "[fd12::1]:443", "[ff02::1]:443", "[fec0::1]:443", "[2001:db8::1]:443", "[2001::1]:443",
		"[::ffff:127.0.0.1]:443", "[::ffff:10.2.2.3]:443", "[::ffff:169.254.169.254]:80", "[::7f00:1]:443", "[64:ff9b::7f00:1]:443", "[2002:7f00:1::1]:443", "not an address", ":443", "localhost:443"}
	for _, addr := range shut {
		if err := a.dial(addr); err == nil {
			t.Errorf("%s may be connected to", addr)
		}
	}
	if err := a.control("udp4", "8.8.8.8:443"); err == nil {
		t.Error("UDP is let through")
	}
}

// TestNoFormOfAPrivateAddressIsPublic draws IPv4 addresses and dresses them up as IPv6.
func TestNoFormOfAPrivateAddressIsPublic(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))
		addr := netip.AddrFrom4(b)
		mapped := netip.AddrFrom16(addr.As16())
		if isPublic(mapped.Unmap()) != isPublic(addr) {
			t.Fatalf("%s and %s differ", addr, mapped)
		}
		for _, form := range [][]byte{
			{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, b[0], b[1], b[2], b[3]}, // NAT64
			{0x20, 0x02, b[0], b[1], b[2], b[3], 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},    // 6to4
			{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b[0], b[1], b[2], b[3]},          // IPv4-compatible
		} {
			if v6 := netip.AddrFrom16([16]byte(form)); isPublic(v6.Unmap()) {
				t.Fatalf("%s, which carries %s, counts as public", v6, addr)
			}
		}
		if addr.IsPrivate() && isPublic(addr) || b[0] == 127 && isPublic(addr) {
			t.Fatalf("%s counts as public", addr)
		}
	})
}

func FuzzAllow(f *testing.F) {
	for _, s := range []string{"https://hooks.example.cn", "http://127.0.0.1", "http://[::1]", "https://hooks.example.cn:443@x", "https://a b", "https://%31"} {
		f.Add(s)
	}
	a, err := ParseAllow([]string{"hooks.example.cn"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if a.Check(raw) != nil {
			return
		}
		rest, ok := strings.CutPrefix(strings.ToLower(raw), "https://hooks.example.cn")
		if ok && strings.HasPrefix(rest, ":443") {
			rest = rest[len(":443"):]
		}
		if !ok || rest != "" && rest[0] != '/' && rest[0] != '?' && rest[0] != '#' {
			t.Errorf("%q is let through", raw)
		}
	})
}

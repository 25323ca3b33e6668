package web

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestOnlyNamedProxiesSpeakForTheirClients(t *testing.T) {
	ours := Proxies{netip.MustParsePrefix("10.1.0.0/24")}
	tests := []struct {
		name, remote, forwarded, want string
		proto                         string
		secure                        bool
	}{
		{"no proxy", "203.0.113.7:1", "", "203.0.113.7", "", false},
		{"a client that pretends", "203.0.113.7:1", "198.51.100.1", "203.0.113.7", "https", false},
		{"our proxy", "10.1.0.2:1", "203.0.113.7", "203.0.113.7", "https", true},
		{"a client that pretends, behind our proxy", "10.1.0.2:1", "198.51.100.1, 203.0.113.7", "203.0.113.7", "http", false},
		{"two proxies of ours", "10.1.0.2:1", "203.0.113.7, 10.1.0.3", "203.0.113.7", "", false},
		{"nonsense", "10.1.0.2:1", "unknown", "10.1.0.2", "", false},
		{"mapped into IPv6", "[::ffff:10.1.0.2]:1", "203.0.113.7", "203.0.113.7", "", false},
	}
	for _, tt := range tests {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": {tt.forwarded}, "X-Forwarded-Proto": {tt.proto}}}
		if got := ours.Client(r); got != tt.want {
			t.Errorf("%s: the client is %s, want %s", tt.name, got, tt.want)
		}
		if got := ours.Secure(r); got != tt.secure {
			t.Errorf("%s: secure is %t", tt.name, got)
		}
	}
}

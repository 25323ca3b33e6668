package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An authority signs the certificates of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, key := a.sign(form)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.key = key
	return a
}

// sign makes a certificate and its key; the first one signs itself.
func (a *authority) sign(form *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = form, key
	}
	der, err := x509.CreateCertificate(rand.Reader, form, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// issue gives a certificate and key for 127.0.0.1, in PEM.
func (a *authority) issue(name string) (cert, key []byte) {
	a.n++
	der, k := a.sign(&x509.Certificate{SerialNumber: big.NewInt(1 + a.n), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	text, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: text})
}

// client trusts the authority and shows the certificates given.
func (a *authority) client(shows ...tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: shows}, DisableKeepAlives: true}}
}

func (a *authority) pair(name string) tls.Certificate {
	pair, err := tls.X509KeyPair(a.issue(name))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func TestTheBackOfficeTakesClientsOfItsAuthorityOnly(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := ours.issue("emsd, first")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours.cert.Raw})
	d := start(t, setup{env: []string{"EMSD_TLS_CERT_FILE=" + write("cert.pem", cert), "EMSD_TLS_KEY_FILE=" + write("key.pem", key), "EMSD_CLIENT_CA_FILE=" + write("ca.pem", ca)}})
	url := strings.Replace(d.api, "http://", "https://", 1) + "/v1/deliveries"

	get := func(c *http.Client, token string) (*http.Response, error) {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := c.Do(req)
		if err == nil {
			res.Body.Close()
		}
		return res, err
	}
	token := d.token("read")
	if res, err := get(ours.client(ours.pair("permit system")), token); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("our client with its token: %v, %v", res, err)
	}
	if res, err := get(ours.client(ours.pair("permit system")), ""); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("our client without a token: %v, %v", res, err)
	}
	for name, c := range map[string]*http.Client{"without a certificate": ours.client(), "with another authority's": ours.client(theirs.pair("stranger"))} {
		if res, err := get(c, token); err == nil {
			t.Errorf("a client %s was answered %d", name, res.StatusCode)
		}
	}
	if res, err := http.Get(d.api + "/v1/deliveries"); err == nil && res.StatusCode != http.StatusBadRequest {
		t.Errorf("plain http was answered %d", res.StatusCode)
	}
	// A renewed certificate is shown without a restart; a broken one is not taken up.
	name := func() string {
		res, err := get(ours.client(ours.pair("permit system")), token)
		if err != nil {
			return err.Error()
		}
		return res.TLS.PeerCertificates[0].Subject.CommonName
	}
	write("cert.pem", []byte("half a file"))
	if got := name(); got != "emsd, first" {
		t.Errorf("while the file is broken: %s", got)
	}
	cert, key = ours.issue("emsd, second")
	write("key.pem", key)
	write("cert.pem", cert)
	until(t, 10*time.Second, "the renewed certificate shown", func() bool { return name() == "emsd, second" })
}

func TestTLSSettingsThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ env, want string }{
		{"EMSD_TLS_CERT_FILE=/x", "EMSD_TLS_CERT_FILE and EMSD_TLS_KEY_FILE belong together"},
		{"EMSD_TLS_KEY_FILE=/x", "EMSD_TLS_CERT_FILE and EMSD_TLS_KEY_FILE belong together"},
		{"EMSD_CLIENT_CA_FILE=/x", "EMSD_CLIENT_CA_FILE needs"},
	} {
		if _, err := readConfig([]string{tt.env}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.env, err)
		}
	}
}

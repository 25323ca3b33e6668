package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certFiles are the certificate of the back office and whose clients it takes.
type certFiles struct {
	cert, key string
	clientCA  string // empty: clients need no certificate
}

func (f certFiles) used() bool { return f.cert != "" }

// check says which of them is missing.
func (f certFiles) check(bad func(string, ...any)) {
	if (f.cert == "") != (f.key == "") {
		bad("EMSD_TLS_CERT_FILE and EMSD_TLS_KEY_FILE belong together: set both or neither")
	}
	if f.clientCA != "" && f.cert == "" {
		bad("EMSD_CLIENT_CA_FILE needs EMSD_TLS_CERT_FILE and EMSD_TLS_KEY_FILE: client certificates are checked over TLS only")
	}
}

func (f certFiles) load() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("EMSD_TLS_CERT_FILE, EMSD_TLS_KEY_FILE: %w", err)
	}
	// Without HTTP/2: a batch answers while it reads, and its limits are those of a connection.
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	if f.clientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(f.clientCA)
	if err != nil {
		return nil, fmt.Errorf("EMSD_CLIENT_CA_FILE: %w", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("EMSD_CLIENT_CA_FILE: no certificate in PEM form")
	}
	return c, nil
}

// changed gives the times of the files; they change when a certificate is renewed.
func (f certFiles) changed() [3]time.Time {
	var at [3]time.Time
	for i, name := range []string{f.cert, f.key, f.clientCA} {
		if info, err := os.Stat(name); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}

// A certKeeper takes up renewed files with the next connection, without a restart.
type certKeeper struct {
	files certFiles
	log   *slog.Logger

	mu      sync.Mutex
	current *tls.Config
	at      [3]time.Time
}

func newCertKeeper(files certFiles, log *slog.Logger) (*certKeeper, error) {
	k := &certKeeper{files: files, log: log, at: files.changed()}
	var err error
	k.current, err = files.load()
	return k, err
}

// config is what the listener serves with.
func (k *certKeeper) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.latest(), nil }}
}

// latest keeps what it has while the files cannot be read: they are perhaps being written.
func (k *certKeeper) latest() *tls.Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := k.files.changed()
	if at == k.at {
		return k.current
	}
	fresh, err := k.files.load()
	if err != nil {
		k.log.Error("the renewed certificates cannot be used, the former stay", "error", err)
		return k.current
	}
	k.current, k.at = fresh, at
	k.log.Info("certificates were renewed")
	return k.current
}

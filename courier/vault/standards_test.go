package vault_test

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
)

// GB/T 32907-2016, appendix A: one block, and the same block encrypted a million times.
func TestSM4IsTheStandards(t *testing.T) {
	t.Parallel()
	key := unhex(t, "0123456789abcdeffedcba9876543210")
	block, err := sm4.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(key)
	block.Encrypt(out, out)
	if got := hex.EncodeToString(out); got != "681edf34d206965e86b3e94f536e4246" {
		t.Errorf("one encryption = %s", got)
	}
	for range 999_999 {
		block.Encrypt(out, out)
	}
	if got := hex.EncodeToString(out); got != "595298c7c6fd271f0402f804c33d3f66" {
		t.Errorf("a million encryptions = %s", got)
	}
}

// RFC 8998, appendix A.1.
func TestSM4GCMIsTheRFCs(t *testing.T) {
	t.Parallel()
	block, err := sm4.NewCipher(unhex(t, "0123456789abcdeffedcba9876543210"))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain := unhex(t, "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd"+
		"eeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa")
	got := aead.Seal(nil, unhex(t, "00001234567800000000abcd"), plain, unhex(t, "feedfacedeadbeeffeedfacedeadbeefabaddad2"))
	want := "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735" +
		"d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d" + "83de3541e4c2b58177e065a9bf7b62ec"
	if hex.EncodeToString(got) != want {
		t.Errorf("sealed = %x, want %s", got, want)
	}
}

// GB/T 32905-2016, appendix A.
func TestSM3IsTheStandards(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"abc":                      "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
		strings.Repeat("abcd", 16): "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732",
	} {
		if got := sm3.Sum([]byte(text)); hex.EncodeToString(got[:]) != want {
			t.Errorf("SM3(%q) = %x, want %s", text, got, want)
		}
	}
}

// HMAC-SM3 and HKDF-SM3 against another implementation, which runs in this test. The first value is also written out,
// so that a wrong OpenSSL would show.
func TestHMACAndHKDFAgreeWithOpenSSL(t *testing.T) {
	t.Parallel()
	text := "what do ya want for nothing?"
	h := hmac.New(sm3.New, []byte("Jefe"))
	h.Write([]byte(text))
	got := hex.EncodeToString(h.Sum(nil))
	if want := "2e87f1d16862e6d964b50a5200bf2b10b764faa9680a296a2405f24bec39f882"; got != want {
		t.Errorf("HMAC-SM3 = %s, want %s", got, want)
	}
	if ssl := openssl(t, text, "dgst", "-sm3", "-mac", "HMAC", "-macopt", "key:Jefe"); !strings.HasSuffix(ssl, got) {
		t.Errorf("HMAC-SM3 = %s, openssl says %s", got, ssl)
	}

	secret := unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	key, err := hkdf.Key(sm3.New, secret, nil, "emsd", 32)
	if err != nil {
		t.Fatal(err)
	}
	ssl := openssl(t, "", "kdf", "-keylen", "32", "-kdfopt", "digest:SM3", "-kdfopt", "hexkey:"+hex.EncodeToString(secret),
		"-kdfopt", "info:emsd", "HKDF")
	if got := hex.EncodeToString(key); got != strings.ToLower(strings.ReplaceAll(ssl, ":", "")) {
		t.Errorf("HKDF-SM3 = %s, openssl says %s", got, ssl)
	}
}

func openssl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

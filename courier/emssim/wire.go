package emssim

import (
	"bytes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emmansun/gmsm/sm4"
	"github.com/google/uuid"
)

// Result codes. The one real refusal ever published has four digits where the document says five (dossier section 1.6).
const (
	codeSuccess   = "00000"
	codeSystem    = "S00001"
	codeInterface = "B00001"
	codeQuery     = "B0001"
)

// prefix announces SM4; "|$|" would announce the AES of older accounts.
const prefix = "|$4|"

const maxForm = 4 << 20

// beijing is the zone of every time on this wire.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

const wireTime = "2006-01-02 15:04:05"

// answer is what a call comes to, before it is put into the envelope.
type answer struct {
	code, msg, body string
}

func success(msg, body string) answer { return answer{codeSuccess, msg, body} }

func refuse(msg string) answer { return answer{codeInterface, msg, ""} }

func malformed(cfg Config) answer { return answer{cfg.MalformedCode, "非法报文", ""} }

func badSignature(cfg Config) answer { return answer{cfg.SignatureCode, "非法的数字签名", ""} }

// envelope renders an answer as EMS does: readable JSON, the body as a string (dossier section 1.5).
func envelope(a answer, now time.Time) []byte {
	out := struct {
		SerialNo string `json:"serialNo"`
		RetCode  string `json:"retCode"`
		RetMsg   string `json:"retMsg"`
		RetBody  string `json:"retBody"`
		RetDate  string `json:"retDate"`
		Success  bool   `json:"success"`
	}{uuid.NewString(), a.code, a.msg, a.body, now.In(beijing).Format(wireTime), a.code == codeSuccess}
	return render(out)
}

// render is JSON without the escapes for HTML that Go adds and EMS does not.
func render(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("emssim: render %T: %v", v, err)) // only our own plain structs come here
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// readForm reads the form parameters from the body alone: parameters in the query are not what the platform takes.
// It always returns a usable form, empty when the body is none.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return url.Values{}, err
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return url.Values{}, errors.New("content type is not a form")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return url.Values{}, err
	}
	return form, nil
}

// carryOut checks the call as the platform does, outermost layer first, and hands the message to its API.
func (c *Carrier) carryOut(r *http.Request, form url.Values, fault Fault) answer {
	if a, bad := c.checkParameters(form); bad {
		return a
	}
	message, bad := c.open(form.Get("logitcsInterface"))
	if bad != nil {
		return *bad
	}
	known := apis[form.Get("apiCode")]
	var one map[string]any
	if known.array {
		var all []map[string]any
		if !decode(message, &all) || len(all) == 0 || len(all) > 1 && !known.many {
			return c.unreadable(message)
		}
		return known.run(c, call{r: r, all: all, fault: fault})
	}
	if !decode(message, &one) || one == nil {
		return c.unreadable(message)
	}
	return known.run(c, call{r: r, all: []map[string]any{one}, fault: fault})
}

// unreadable tells JSON in the wrong wrapping from what is no JSON at all.
func (c *Carrier) unreadable(message []byte) answer {
	if utf8.Valid(message) && json.Valid(message) {
		return malformed(c.cfg)
	}
	return answer{c.cfg.MalformedCode, "非法的xml/json格式", ""}
}

func (c *Carrier) checkParameters(form url.Values) (answer, bool) {
	for _, name := range []string{"apiCode", "senderNo", "authorization", "timeStamp", "logitcsInterface"} {
		if form.Get(name) == "" {
			return refuse(name + "不能为空"), true
		}
		if len(form[name]) > 1 {
			return malformed(c.cfg), true
		}
	}
	at, err := time.ParseInLocation(wireTime, form.Get("timeStamp"), beijing)
	_, known := apis[form.Get("apiCode")]
	switch v, m := form.Get("version"), form.Get("msgType"); {
	case form.Get("senderNo") != c.cfg.SenderNo || form.Get("authorization") != c.cfg.Authorization:
		return answer{c.cfg.SignatureCode, "非法的授权", ""}, true
	case err != nil:
		return refuse("timeStamp格式不正确"), true
	case c.cfg.StaleAfter > 0 && c.cfg.Now().Sub(at).Abs() > c.cfg.StaleAfter:
		return refuse("timeStamp已过期"), true
	case v != "" && !strings.EqualFold(v, "V1.0.0"):
		return refuse("version取值不正确"), true
	case m != "" && m != "0":
		return refuse("msgType取值不正确"), true
	case !known:
		return refuse("非法的接口代码"), true
	}
	return answer{}, false
}

// open undoes prefix, base64, SM4, padding and the secret behind the message (dossier section 1.4).
func (c *Carrier) open(field string) ([]byte, *answer) {
	text, ok := strings.CutPrefix(field, prefix)
	if !ok {
		a := malformed(c.cfg)
		return nil, &a
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		a := malformed(c.cfg)
		return nil, &a
	}
	plain, ok := c.cipher.decrypt(sealed)
	if !ok {
		a := badSignature(c.cfg)
		return nil, &a
	}
	message, ok := bytes.CutSuffix(plain, []byte(c.cfg.Secret))
	if !ok {
		a := badSignature(c.cfg)
		return nil, &a
	}
	return message, nil
}

// decode reads one JSON value strictly: valid UTF-8, nothing behind it, numbers kept as written.
func decode(message []byte, into any) bool {
	if !utf8.Valid(message) {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(message))
	dec.UseNumber()
	if dec.Decode(into) != nil {
		return false
	}
	_, err := dec.Token()
	return err == io.EOF
}

// ecb is SM4 in ECB mode with PKCS#7 padding, block by block as the standard writes it.
type ecb struct{ block cipher.Block }

func newECB(secret string) *ecb {
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		panic("emssim: the secret is not base64")
	}
	block, err := sm4.NewCipher(key)
	if err != nil {
		panic("emssim: the secret does not hold 16 bytes")
	}
	return &ecb{block}
}

func (e *ecb) encrypt(plain []byte) []byte {
	n := sm4.BlockSize - len(plain)%sm4.BlockSize
	out := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(n)}, n)...)
	for at := 0; at < len(out); at += sm4.BlockSize {
		e.block.Encrypt(out[at:at+sm4.BlockSize], out[at:at+sm4.BlockSize])
	}
	return out
}

func (e *ecb) decrypt(sealed []byte) ([]byte, bool) {
	if len(sealed) == 0 || len(sealed)%sm4.BlockSize != 0 {
		return nil, false
	}
	out := make([]byte, len(sealed))
	for at := 0; at < len(out); at += sm4.BlockSize {
		e.block.Decrypt(out[at:at+sm4.BlockSize], sealed[at:at+sm4.BlockSize])
	}
	n := int(out[len(out)-1])
	if n == 0 || n > sm4.BlockSize {
		return nil, false
	}
	body, padding := out[:len(out)-n], out[len(out)-n:]
	return body, bytes.Equal(padding, bytes.Repeat([]byte{byte(n)}, n))
}

// seal is the form in which the platform sends a message of its own.
func (e *ecb) seal(plain []byte) string {
	return prefix + base64.StdEncoding.EncodeToString(e.encrypt(plain))
}

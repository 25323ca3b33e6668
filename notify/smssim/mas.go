package smssim

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// Defaults of a MAS account that needs no configuration, and where its gateway is mounted.
const (
	SampleECName    = "某某市政务服务中心"
	SampleAPID      = "fakeap"
	SampleMASSecret = "FakeMasSecret01"
	SampleMASSign   = "FakeSignId"

	PrefixMAS = "/mas/sms/"
)

// MAS sets the account at 云MAS (dossier C), and which of its spellings the simulator uses. The zero value is a usable one.
type MAS struct {
	ECName    string // SampleECName
	APID      string // SampleAPID
	SecretKey string // SampleMASSecret
	Sign      string // SampleMASSign, a code
	// Templates gives the number of variables of each approved template. With none, every template is known.
	Templates map[string]int

	WantSecret bool // this province wants secretKey in the body; others refuse what they do not know
	Misspelt   bool // mgsGroup
	TextFlag   bool // success as a string
	Wrapped    bool // reports are wrapped in base64
	ReceiptTo  string

	HoldReplies bool // replies wait for the deliver interface instead of being pushed
}

func (m *MAS) defaults() {
	for _, d := range []struct {
		s        *string
		fallback string
	}{{&m.ECName, SampleECName}, {&m.APID, SampleAPID}, {&m.SecretKey, SampleMASSecret}, {&m.Sign, SampleMASSign}} {
		if *d.s == "" {
			*d.s = d.fallback
		}
	}
}

const masTime = "20060102150405"

func masRefusal(code string) answer {
	return answer{http.StatusOK, map[string]any{"rspcod": code, "success": false, "msgGroup": ""}}
}

func renderMAS(a answer, _ string) []byte {
	if a.status == 0 {
		return nil
	}
	if list, ok := a.fields["list"]; ok {
		return encode(list)
	}
	return encode(a.fields)
}

// masSubmit is the body of a submission, and of a pull of reports or replies.
type masSubmit struct {
	ECName     string  `json:"ecName"`
	APID       string  `json:"apId"`
	SecretKey  *string `json:"secretKey"`
	Mobiles    string  `json:"mobiles"`
	Content    string  `json:"content"`
	TemplateID string  `json:"templateId"`
	Params     string  `json:"params"`
	Sign       string  `json:"sign"`
	AddSerial  *string `json:"addSerial"`
	MAC        string  `json:"mac"`
}

func (g *Gateway) serveMAS(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		write(w, http.StatusRequestEntityTooLarge, "text/plain", nil)
		return
	}
	pause(r.Context(), g.cfg.Latency)
	api := strings.TrimPrefix(r.URL.Path, PrefixMAS)
	if !slices.Contains(vendors["mas"].apis, api) {
		http.NotFound(w, r)
		return
	}
	g.misbehave(w, r, vendors["mas"], g.faults.pick("mas", api, g.cfg.Now()), func() answer { return g.callMAS(r, api, body) })
}

func (g *Gateway) callMAS(r *http.Request, api string, body []byte) answer {
	var p masSubmit
	text, err := base64.StdEncoding.DecodeString(string(body))
	if r.Method != http.MethodPost || err != nil || json.Unmarshal(text, &p) != nil {
		return masRefusal("InvalidMessage")
	}
	if p.ECName != g.cfg.MAS.ECName || p.APID != g.cfg.MAS.APID {
		return masRefusal("InvalidUsrOrPwd")
	}
	if api == "report" || api == "deliver" {
		if p.SecretKey == nil || *p.SecretKey != g.cfg.MAS.SecretKey {
			return masRefusal("InvalidUsrOrPwd")
		}
		if api == "deliver" {
			return g.deliverMAS()
		}
		return g.pullMAS()
	}
	return g.submitMAS(p, api == "tmpsubmit")
}

func (g *Gateway) submitMAS(p masSubmit, byTemplate bool) answer {
	cfg := g.cfg.MAS
	if p.AddSerial == nil || (p.SecretKey != nil) != cfg.WantSecret || cfg.WantSecret && *p.SecretKey != cfg.SecretKey {
		return masRefusal("InvalidUsrOrPwd")
	}
	signed := p.ECName + p.APID + cfg.SecretKey + p.Mobiles + p.Content + p.Sign + *p.AddSerial
	if byTemplate {
		signed = p.ECName + p.APID + cfg.SecretKey + p.TemplateID + p.Mobiles + p.Params + p.Sign + *p.AddSerial
	}
	sum := md5.Sum([]byte(signed))
	if !hmac.Equal([]byte(hex.EncodeToString(sum[:])), []byte(p.MAC)) {
		return masRefusal("IllegalMac")
	}
	switch p.Sign {
	case cfg.Sign:
	case "":
		return masRefusal("NoSignId")
	default:
		return masRefusal("IllegalSignId")
	}
	params, ok := masParams(p, byTemplate, cfg.Templates)
	if !ok {
		return masRefusal("InvalidMessage")
	}
	phones := strings.Split(p.Mobiles, ",")
	if len(phones) > 5000 {
		return masRefusal("TooManyMobiles")
	}
	for i, phone := range phones {
		if len(phone) != 11 || !mobile.MatchString(phone) || strings.HasSuffix(phone, "0008") { // a test number of contract.md
			return masRefusal("InvalidMobile")
		}
		if slices.Contains(phones[:i], phone) {
			return masRefusal("DupMobile")
		}
	}
	now := g.cfg.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.accepted++
	group := fmt.Sprintf("%s%06d", now.In(beijing).Format("0102150405"), g.accepted)
	for _, phone := range phones {
		content := p.Content
		if byTemplate {
			content = g.text(p.TemplateID, params)
		}
		g.accept(&message{Message: Message{Gateway: "mas", Phone: phone, Template: p.TemplateID, Params: params, At: now}, bizID: group, content: content})
	}
	fields := map[string]any{"rspcod": "success", "success": true, "msgGroup": group}
	if cfg.TextFlag {
		fields["success"] = "true"
	}
	if cfg.Misspelt {
		delete(fields, "msgGroup")
		fields["mgsGroup"] = group
	}
	return answer{http.StatusOK, fields}
}

// masParams reads the variables of a template; a text of its own has one: itself.
func masParams(p masSubmit, byTemplate bool, templates map[string]int) (map[string]string, bool) {
	if !byTemplate {
		return map[string]string{"content": p.Content}, p.Content != "" && utf8.ValidString(p.Content)
	}
	var list []string
	if json.Unmarshal([]byte(p.Params), &list) != nil || p.TemplateID == "" || len(list) == 0 {
		return nil, false
	}
	if len(list) == 1 && list[0] == "" {
		list = nil
	}
	if n, known := templates[p.TemplateID]; len(templates) > 0 && (!known || n != len(list)) {
		return nil, false
	}
	return numbered(list), true
}

// masReport is what a carrier said about one message (C.4).
func masReport(m *message) map[string]any {
	report := map[string]any{"reportStatus": "DELIVRD", "mobile": m.Phone, "submitDate": m.At.In(beijing).Format(masTime),
		"receiveDate": m.settled.In(beijing).Format(masTime), "errorCode": "", "msgGroup": m.bizID}
	if m.errCode != codeDelivered {
		report["reportStatus"], report["errorCode"] = "UNDELIV", "DB:0140"
	}
	return report
}

// reportMAS is the body of a pushed report: an object, one number a call.
func (g *Gateway) reportMAS(batch []*receipt) []byte {
	body := encode(masReport(batch[0].m))
	if g.cfg.MAS.Wrapped {
		return []byte(base64.StdEncoding.EncodeToString(body))
	}
	return body
}

// pullMAS is the report interface. Whether a report comes twice is not known; here each comes once.
func (g *Gateway) pullMAS() answer {
	now := g.cfg.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	list := []map[string]any{}
	for _, m := range g.messages {
		if m.Gateway != "mas" || m.pulled || m.settled.After(now) {
			continue
		}
		m.pulled = true
		report := masReport(m)
		report["mobile"] = []string{m.Phone}
		list = append(list, report)
	}
	return answer{http.StatusOK, map[string]any{"list": list}}
}

package smssim

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// A Template is one application for a template and what became of it. The states are those of Aliyun and Tencent alike, in
// words: approved, in_review, refused, cancelled (Aliyun), pending (Tencent: approved, not yet live).
type Template struct {
	State   string // approved
	Content string // as approved
	Reason  string // of a refusal
}

// A Carrier is what a carrier has made of the signature's registration (A.2), by Aliyun's numbers: -2 not registered, -1 in
// progress, 0 failed, 1 to be verified, 2 lapsed, 3 verified.
type Carrier struct {
	Status  int
	Reasons []string
}

// A Registry is what the vendors have approved. The zero value is an account whose templates and signature are all fine;
// their contents are then not told.
type Registry struct {
	Templates map[string]Template // by code; others are approved
	Signature string              // state; approved
	Reason    string              // of the signature's refusal
	Carriers  map[string]Carrier  // mobile, unicom, telecom; others are verified
	SignID    uint64              // at Tencent; 1
}

// SetRegistry changes what is approved.
func (g *Gateway) SetRegistry(r Registry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.registry = r
}

// registryCalls are no messages: a fault hits them only when it names them.
var registryCalls = []string{"GetSmsTemplate", "GetSmsSign", "DescribeSmsTemplateList", "DescribeSmsSignList"}

func (r Registry) template(code string) Template {
	t := r.Templates[code]
	if t.State == "" {
		t.State = "approved"
	}
	return t
}

func (r Registry) signature() string {
	if r.Signature == "" {
		return "approved"
	}
	return r.Signature
}

// aliyunStates are TemplateStatus and SignStatus there.
var aliyunStates = map[string]int{"in_review": 0, "approved": 1, "refused": 2, "cancelled": 10}

// getSmsTemplate is GetSmsTemplate.
func (g *Gateway) getSmsTemplate(p url.Values) answer {
	code := p.Get("TemplateCode")
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.cfg.Templates[code]; code == "" || len(g.cfg.Templates) > 0 && !known {
		return failure(http.StatusOK, "isv.SMS_TEMPLATE_ILLEGAL", "该账号下找不到对应模板")
	}
	t := g.registry.template(code)
	return answer{http.StatusOK, map[string]any{
		"Code": codeOK, "Message": codeOK, "TemplateCode": code, "TemplateContent": t.Content, "TemplateType": "1",
		"TemplateStatus": strconv.Itoa(aliyunStates[t.State]), "AuditInfo": map[string]string{"RejectInfo": t.Reason},
	}}
}

// getSmsSign is GetSmsSign.
func (g *Gateway) getSmsSign(p url.Values) answer {
	if p.Get("SignName") != g.cfg.SignName {
		return failure(http.StatusOK, "isv.SMS_SIGNATURE_ILLEGAL", "该账号下找不到对应签名")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []map[string]any
	for _, name := range []string{"mobile", "telecom", "unicom"} {
		c, set := g.registry.Carriers[name]
		if !set {
			c = Carrier{Status: 3, Reasons: []string{"DETECT_SUCCESS"}}
		}
		reasons := []map[string]any{}
		for _, code := range c.Reasons {
			reasons = append(reasons, map[string]any{"ReasonCode": code, "ReasonDescList": []string{}})
		}
		list = append(list, map[string]any{"OperatorCode": name, "RegisterStatus": c.Status, "RegisterStatusReasons": reasons})
	}
	return answer{http.StatusOK, map[string]any{
		"Code": codeOK, "Message": codeOK, "SignName": g.cfg.SignName, "SignStatus": aliyunStates[g.registry.signature()],
		"AuditInfo": map[string]string{"RejectInfo": g.registry.Reason}, "SignIspRegisterDetailList": list,
	}}
}

// tencentStates are StatusCode there.
var tencentStates = map[string]int{"approved": 0, "in_review": 1, "pending": 2, "refused": -1, "cancelled": -1}

// describeTemplates is DescribeSmsTemplateList. Ids that the account has not are left out.
func (g *Gateway) describeTemplates(body []byte) answer {
	var p struct {
		International, Limit, Offset uint64
		TemplateIdSet                []uint64
	}
	if a := strictly(body, &p); a.status != 0 {
		return a
	}
	if len(p.TemplateIdSet) > 100 {
		return tc3Error("InvalidParameterValue.TemplateIdSetLimit", "At most 100.")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	list := []map[string]any{}
	for _, id := range p.TemplateIdSet {
		code := strconv.FormatUint(id, 10)
		if _, known := g.cfg.Tencent.Templates[code]; len(g.cfg.Tencent.Templates) > 0 && !known {
			continue
		}
		t := g.registry.template(code)
		list = append(list, map[string]any{"TemplateId": id, "International": 0, "StatusCode": tencentStates[t.State], "ReviewReply": t.Reason,
			"TemplateName": code, "TemplateContent": t.Content, "CreateTime": 1})
	}
	return answer{http.StatusOK, map[string]any{"DescribeTemplateStatusSet": list}}
}

// describeSigns is DescribeSmsSignList: by id, not by name.
func (g *Gateway) describeSigns(body []byte) answer {
	var p struct {
		International uint64
		SignIdSet     []uint64
	}
	if a := strictly(body, &p); a.status != 0 {
		return a
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	own := max(g.registry.SignID, 1)
	list := []map[string]any{}
	if slices.Contains(p.SignIdSet, own) {
		list = append(list, map[string]any{"SignId": own, "International": 0, "StatusCode": tencentStates[g.registry.signature()],
			"ReviewReply": g.registry.Reason, "SignName": g.cfg.SignName, "CreateTime": 1})
	}
	return answer{http.StatusOK, map[string]any{"DescribeSignListStatusSet": list}}
}

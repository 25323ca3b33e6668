package smssim

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

const (
	maxBody       = 1 << 20
	codeOK        = "OK"
	codeDelivered = "DELIVERED"
	wireTime      = "2006-01-02 15:04:05"
)

var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// answer is a status and the fields beside RequestId.
type answer struct {
	status int
	fields map[string]any
}

func failure(status int, code, message string) answer {
	return answer{status, map[string]any{"Code": code, "Message": message}}
}

func (a answer) render(requestID string) []byte {
	if a.status == 0 {
		return nil
	}
	out := maps.Clone(a.fields)
	out["RequestId"] = requestID
	if a.status != http.StatusOK {
		out["HostId"] = "dysmsapi.aliyuncs.com"
		out["Recommend"] = "https://api.aliyun.com/troubleshoot?q=" + fmt.Sprint(out["Code"]) + "&product=Dysmsapi"
	}
	return encode(out)
}

func (g *Gateway) requestID() string { return strings.ToUpper(uuid.NewString()) }

// actions are the calls that the simulator knows.
var actions = map[string]func(*Gateway, url.Values) answer{
	"SendSms":          (*Gateway).sendSms,
	"QuerySendDetails": (*Gateway).querySendDetails,
	"GetSmsTemplate":   (*Gateway).getSmsTemplate,
	"GetSmsSign":       (*Gateway).getSmsSign,
}

func (g *Gateway) serveAliyun(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		write(w, http.StatusRequestEntityTooLarge, "text/plain", nil)
		return
	}
	pause(r.Context(), g.cfg.Latency)
	action := r.Header.Get("x-acs-action")
	if action == "" {
		action = r.URL.Query().Get("Action")
	}
	g.misbehave(w, r, vendors["aliyun"], g.faults.pick("aliyun", action, g.cfg.Now()), func() answer { return g.call(r, action, body) })
}

// call checks who asks, then what.
func (g *Gateway) call(r *http.Request, action string, body []byte) answer {
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		return failure(http.StatusMethodNotAllowed, "UnsupportedHTTPMethod", "This http method is not supported.")
	}
	if a, ok := g.authenticate(r, body); !ok {
		return a
	}
	if r.Header.Get("x-acs-version") != "2017-05-25" {
		return failure(http.StatusBadRequest, "InvalidVersion", "Specified parameter Version is not valid.")
	}
	act := actions[action]
	if act == nil {
		return failure(http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.")
	}
	params, ok := parameters(r, body)
	if !ok {
		return failure(http.StatusBadRequest, "InvalidParameter", "The parameters cannot be read.")
	}
	return act(g, params)
}

// parameters come from the query, or from a form body; the gateway reads both.
func parameters(r *http.Request, body []byte) (url.Values, bool) {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, false
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if len(body) == 0 {
		return params, true
	}
	if kind != "application/x-www-form-urlencoded" {
		return params, true // a body of another kind is signed, but not read
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, false
	}
	for name, values := range form {
		params[name] = append(params[name], values...)
	}
	return params, true
}

var mobile = regexp.MustCompile(`^(?:\+?86|0086)?(1[3-9]\d{9})$`)

// sendSms is SendSms.
func (g *Gateway) sendSms(p url.Values) answer {
	phones, a := g.checkPhones(p.Get("PhoneNumbers"))
	if a.status != 0 {
		return a
	}
	params, a := g.checkTemplate(p)
	if a.status != 0 {
		return a
	}
	now, template := g.cfg.Now(), p.Get("TemplateCode")
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, phone := range phones {
		if window, limit := g.aliyunLimits(phone, template, now); limit > 0 {
			return failure(http.StatusOK, "isv.BUSINESS_LIMIT_CONTROL", fmt.Sprintf("触发%s级流控Permits:%d", window, limit))
		}
	}
	g.accepted++
	biz := fmt.Sprintf("%09d%09d^0", now.Unix()%1e9, g.accepted)
	for _, phone := range phones {
		g.accept(&message{
			Message: Message{Gateway: "aliyun", Phone: phone, Template: template, Params: params, OutID: p.Get("OutId"), At: now},
			bizID:   biz, content: g.text(template, params),
		})
	}
	return answer{http.StatusOK, map[string]any{"Code": codeOK, "Message": codeOK, "BizId": biz}}
}

func (g *Gateway) checkPhones(list string) ([]string, answer) {
	if list == "" {
		return nil, failure(http.StatusBadRequest, "MissingPhoneNumbers", "PhoneNumbers is mandatory for this action.")
	}
	phones := strings.Split(list, ",")
	if len(phones) > 1000 {
		return nil, failure(http.StatusOK, "isv.MOBILE_COUNT_OVER_LIMIT", "手机号码数量超过限制")
	}
	for i, phone := range phones {
		m := mobile.FindStringSubmatch(phone)
		if m == nil || strings.HasSuffix(m[1], "0008") { // a test number of contract.md
			return nil, failure(http.StatusOK, "isv.MOBILE_NUMBER_ILLEGAL", "非法手机号")
		}
		phones[i] = m[1]
	}
	return phones, answer{}
}

// checkTemplate holds signature, template and variables against what is approved.
func (g *Gateway) checkTemplate(p url.Values) (map[string]string, answer) {
	template, text := p.Get("TemplateCode"), p.Get("TemplateParam")
	no := func(code, message string) (map[string]string, answer) {
		return nil, failure(http.StatusOK, code, message)
	}
	if p.Get("SignName") != g.cfg.SignName {
		return no("isv.SMS_SIGNATURE_ILLEGAL", "该账号下找不到对应签名")
	}
	needed, known := g.cfg.Templates[template]
	if !strings.HasPrefix(template, "SMS_") || len(g.cfg.Templates) > 0 && !known {
		return no("isv.SMS_TEMPLATE_ILLEGAL", "该账号下找不到对应模板")
	}
	if utf8.RuneCountInString(p.Get("OutId")) > 255 {
		return no("isv.INVALID_PARAMETERS", "OutId长度超限")
	}
	params := map[string]string{}
	if text != "" && (!utf8.ValidString(text) || json.Unmarshal([]byte(text), &params) != nil || params == nil) {
		return no("isv.INVALID_JSON_PARAM", "参数格式错误，请修改为字符串值")
	}
	for _, name := range needed {
		if _, given := params[name]; !given {
			return no("isv.TEMPLATE_MISSING_PARAMETERS", "模板变量缺少对应参数值")
		}
	}
	for _, value := range params {
		switch n := utf8.RuneCountInString(value); {
		case n < 1 || n > 35:
			return no("isv.PARAM_LENGTH_LIMIT", "参数超过长度限制")
		case strings.Contains(value, "://") || strings.Contains(strings.ToLower(value), "www."):
			return no("isv.PARAM_NOT_SUPPORT_URL", "变量不支持传入URL")
		case strings.ContainsAny(value, "【】"):
			return no("isv.SMS_CONTENT_ILLEGAL", "短信内容包含禁止发送内容")
		}
	}
	return params, answer{}
}

// aliyunLimits names the window in which a number has had its fill of a template, with the limit; minutes and hours are the
// clock's, a day is 24 hours (A.9). The caller holds mu.
func (g *Gateway) aliyunLimits(phone, template string, now time.Time) (window string, limit int) {
	for _, w := range []struct {
		name  string
		limit int
		since time.Time // Beijing's hours begin when UTC's do
	}{
		{"分钟", g.cfg.MinuteLimit, now.Truncate(time.Minute)},
		{"小时", g.cfg.HourlyLimit, now.Truncate(time.Hour)},
		{"天", g.cfg.DailyLimit, now.Add(1 - 24*time.Hour)},
	} {
		n := 0
		for _, m := range g.byPhone[phone] {
			if m.Gateway == "aliyun" && m.Template == template && !m.At.Before(w.since) {
				n++
			}
		}
		if w.limit > 0 && n >= w.limit {
			return w.name, w.limit
		}
	}
	return "", 0
}

// text is what a phone would show; the wording of templates is not known here, so the variables stand in order.
func (g *Gateway) text(template string, params map[string]string) string {
	var b strings.Builder
	b.WriteString("【" + g.cfg.SignName + "】" + template)
	for _, name := range slices.Sorted(maps.Keys(params)) {
		b.WriteString(" " + params[name])
	}
	return b.String()
}

// accept enters a message and decides its fate. The caller holds mu.
func (g *Gateway) accept(m *message) {
	rng := rand.New(rand.NewPCG(g.cfg.Seed, uint64(len(g.messages))))
	m.settled = m.At.Add(2*time.Second + time.Duration(rng.IntN(20))*time.Second)
	m.errCode = codeDelivered
	if rng.Float64() < g.cfg.Undelivered {
		m.errCode = "MOBILE_NOT_ON_SERVICE"
	}
	g.messages = append(g.messages, m)
	g.byPhone[m.Phone] = append(g.byPhone[m.Phone], m)
	g.plan(m, rng)
}

// detail is one entry of QuerySendDetails.
type detail struct {
	PhoneNum     string
	SendStatus   int
	ErrCode      string
	TemplateCode string
	Content      string
	SendDate     string
	ReceiveDate  string
	OutId        string
}

// querySendDetails is QuerySendDetails, latest first.
func (g *Gateway) querySendDetails(p url.Values) answer {
	size, sizeErr := strconv.Atoi(p.Get("PageSize"))
	page, pageErr := strconv.Atoi(p.Get("CurrentPage"))
	day, dayErr := time.ParseInLocation("20060102", p.Get("SendDate"), beijing)
	now := g.cfg.Now()
	bare := len(p.Get("PhoneNumber")) == 11 && mobile.MatchString(p.Get("PhoneNumber"))
	switch {
	case !bare:
		return failure(http.StatusOK, "isv.MOBILE_NUMBER_ILLEGAL", "非法手机号")
	case sizeErr != nil || size < 1 || size > 50 || pageErr != nil || page < 1 || dayErr != nil || now.Sub(day) > 31*24*time.Hour:
		return failure(http.StatusOK, "isv.INVALID_PARAMETERS", "参数异常")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var found []detail
	for _, m := range slices.Backward(g.byPhone[p.Get("PhoneNumber")]) {
		today := m.At.In(beijing).Format("20060102") == p.Get("SendDate")
		if m.Gateway == "aliyun" && today && now.Sub(m.At) >= g.cfg.QueryLag && (p.Get("BizId") == "" || p.Get("BizId") == m.bizID) {
			found = append(found, m.detail(now))
		}
	}
	from := min((page-1)*size, len(found))
	list := slices.Concat([]detail{}, found[from:min(from+size, len(found))]) // an empty list, not null
	return answer{http.StatusOK, map[string]any{
		"Code": codeOK, "Message": codeOK, "TotalCount": strconv.Itoa(len(found)), "SmsSendDetailDTOs": map[string]any{"SmsSendDetailDTO": list},
	}}
}

func (m *message) detail(now time.Time) detail {
	d := detail{PhoneNum: m.Phone, SendStatus: 1, TemplateCode: m.Template, Content: m.content, SendDate: m.At.In(beijing).Format(wireTime), OutId: m.OutID}
	if m.settled.After(now) {
		return d
	}
	d.SendStatus, d.ErrCode, d.ReceiveDate = 2, m.errCode, m.settled.In(beijing).Format(wireTime)
	if m.errCode == codeDelivered {
		d.SendStatus = 3
	}
	return d
}

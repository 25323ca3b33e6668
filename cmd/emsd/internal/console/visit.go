package console

import (
	"bytes"
	"context"
	"errors"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/staff"

	"github.com/google/uuid"
)

// A visit is one request of one person.
type visit struct {
	c       *Console
	w       http.ResponseWriter
	r       *http.Request
	session staff.Session // zero before sign-in
}

// Context is limited to the person's station: pass it on.
func (v *visit) Context() context.Context { return v.r.Context() }

// User is who looks.
func (v *visit) User() staff.User { return v.session.User }

// form gives a field of the form, or of the query, without the blanks around it.
func (v *visit) form(name string) string { return strings.TrimSpace(v.r.FormValue(name)) }

// sent gives a file of the form; http.ErrMissingFile when none was chosen.
func (v *visit) sent(name string) (multipart.File, *multipart.FileHeader, error) {
	file, head, err := v.r.FormFile(name)
	if err == nil || errors.Is(err, http.ErrMissingFile) {
		return file, head, err
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, nil, err
	}
	// The form is none that carries files, or was cut off.
	return nil, nil, web.NewProblem(http.StatusBadRequest, "malformed_form", "表单内容无法识别，请返回页面重新选择文件上传")
}

// reason gives the field "reason", which must not be empty.
func (v *visit) reason() (string, error) {
	reason := v.form("reason")
	switch n := len([]rune(reason)); {
	case n == 0:
		return "", courier.Faults{{Field: "reason", Code: "required", Detail: "请填写原因"}}
	case n > 200:
		return "", courier.Faults{{Field: "reason", Code: "length", Detail: "原因最多200个字"}}
	}
	return reason, nil
}

// id reads {id} of the path; one that cannot be is one that is not there.
func (v *visit) id() (uuid.UUID, error) {
	id, err := uuid.Parse(v.r.PathValue("id"))
	if err != nil {
		return id, courier.ErrNotFound
	}
	return id, nil
}

// Unmasked tells until when this session shows the personal data of a delivery; zero: masked.
func (v *visit) Unmasked(delivery uuid.UUID) (time.Time, error) {
	if !v.User().May(staff.Unmask) {
		return time.Time{}, nil
	}
	return v.c.Staff.UnmaskedUntil(v.Context(), v.session, delivery)
}

// address is where the request comes from, for limits and the audit.
func (v *visit) address() string {
	return v.c.Proxies.Client(v.r)
}

// secure says whether the browser speaks TLS, to us or to a proxy in front.
func (v *visit) secure() bool {
	return v.c.Proxies.Secure(v.r)
}

func (v *visit) cookieName() string {
	if v.secure() {
		return "__Host-emsd"
	}
	return "emsd_console"
}

// recall finds the session of the cookie, if there is one.
func (v *visit) recall() error {
	cookie, err := v.r.Cookie(v.cookieName())
	if err != nil {
		return nil // none: nobody has signed in
	}
	v.session, err = v.c.Staff.Session(v.r.Context(), cookie.Value)
	if errors.Is(err, courier.ErrNotFound) {
		v.session = staff.Session{}
		return nil
	}
	return err
}

// remember gives the browser the token of a session; an empty one takes it away.
func (v *visit) remember(token string) {
	cookie := &http.Cookie{Name: v.cookieName(), Value: token, Path: "/", HttpOnly: true, Secure: v.secure(), SameSite: http.SameSiteLaxMode}
	if token == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(v.w, cookie)
}

// toSignIn leads to the page that the sign-in is at, and back here afterwards.
func (v *visit) toSignIn() {
	to := stagePath(v.session.Stage)
	if to == signInPath && v.r.Method == http.MethodGet && v.r.URL.Path != "/console/" {
		to += "?" + url.Values{"next": {v.r.URL.RequestURI()}}.Encode()
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
}

// redirect leads to a page of ours after a POST; notice names a sentence of notices, or is empty.
func (v *visit) redirect(path, notice string) error {
	if notice != "" {
		mark := "?"
		if strings.Contains(path, "?") {
			mark = "&"
		}
		path += mark + "notice=" + url.QueryEscape(notice)
	}
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// A screen is the dot of a template.
type screen struct {
	User   staff.User // zero before sign-in
	Menu   []menuItem
	Path   string
	Notice string // what was just done
	Now    time.Time
	Idle   time.Duration
	Page   any
}

// May says what who looks may do.
func (s *screen) May(a string) bool { return s.User.May(staff.Action(a)) }

// SignedIn says whether the sign-in is complete, so that there is a menu.
func (s *screen) SignedIn() bool { return len(s.Menu) > 0 }

// render answers with a page.
func (v *visit) render(name string, page any) error { return v.renderAs(http.StatusOK, name, page) }

func (v *visit) renderAs(status int, name string, page any) error {
	s := &screen{Path: v.r.URL.Path, Notice: notices[v.r.URL.Query().Get("notice")], Now: v.c.Clock.Now(), Idle: v.c.Staff.Idle(), Page: page}
	if v.session.Stage == staff.StageFull {
		s.User, s.Menu = v.User(), menuFor(v.User(), s.Path)
	}
	var body bytes.Buffer
	if err := v.c.templates.execute(&body, name, s); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	v.w.Write(body.Bytes())
	return nil
}

// file answers with a file to keep.
func (v *visit) file(name, contentType string, body []byte) error {
	v.w.Header().Set("Content-Type", contentType)
	v.w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	v.w.Write(body)
	return nil
}

// A trouble is what the error page shows.
type trouble struct {
	Title  string
	Detail string
	Faults []web.Pointer
	Back   string // page of ours to go back to
}

// fail answers an error with a page that says what to do; nil was answered already.
func (v *visit) fail(err error) {
	if err == nil {
		return
	}
	p := web.Describe(err)
	if p.Status >= 500 {
		v.c.Log.ErrorContext(v.r.Context(), "page failed", "method", v.r.Method, "route", v.r.Pattern, "error", err)
	}
	t := trouble{Title: titleOf(p.Status), Detail: p.Detail, Faults: p.Errors, Back: back(v.r)}
	if len(p.Errors) > 0 {
		t.Detail = "请按下列说明更正后重新提交。"
	}
	if rerr := v.renderAs(p.Status, "error", t); rerr != nil {
		v.c.Log.ErrorContext(v.r.Context(), "the error page failed", "error", rerr)
		http.Error(v.w, "系统内部错误，请稍后重试", http.StatusInternalServerError)
	}
}

func titleOf(status int) string {
	switch status {
	case http.StatusForbidden:
		return "没有权限"
	case http.StatusNotFound:
		return "没有找到"
	case http.StatusConflict:
		return "现在不能这样办理"
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		return "填写有误"
	case http.StatusRequestEntityTooLarge:
		return "内容过大"
	}
	return "系统出错"
}

// back is the page that a form was on, as the form says in the field "back", else the first page.
func back(r *http.Request) string {
	if to := r.PostFormValue("back"); ownPath(to) {
		return to
	}
	return "/console/"
}

// ownPath says whether a path that came with a request leads to a page of the console and nowhere else.
func ownPath(p string) bool {
	if !strings.HasPrefix(p, "/console/") || strings.ContainsFunc(p, func(r rune) bool { return r < 0x21 || r == '\\' || r > 0x7e }) {
		return false
	}
	u, err := url.Parse(p)
	return err == nil && u.Host == "" && u.Scheme == ""
}

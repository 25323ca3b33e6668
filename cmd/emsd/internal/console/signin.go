package console

import (
	"errors"
	"net/http"
	"strings"

	"emsd/courier"
	"emsd/courier/staff"

	"github.com/boombuler/barcode/qr"
)

const signInPath = "/console/sign-in"

// stagePath is the page where a sign-in goes on.
func stagePath(s staff.Stage) string {
	switch s {
	case staff.StageCode:
		return "/console/sign-in/code"
	case staff.StagePassword:
		return "/console/sign-in/password"
	case staff.StageEnrol:
		return "/console/sign-in/second-factor"
	case staff.StageFull:
		return "/console/"
	}
	return signInPath
}

// signInPages need no full session; each looks itself at how far the sign-in has come.
func (c *Console) signInPages() []page {
	return []page{
		at("GET /console/sign-in", "", c.signInForm),
		at("POST /console/sign-in", "", c.signIn),
		at("GET /console/sign-in/code", "", c.atStage(staff.StageCode, c.codeForm)),
		at("POST /console/sign-in/code", "", c.atStage(staff.StageCode, c.giveCode)),
		at("GET /console/sign-in/password", "", c.atStage(staff.StagePassword, c.firstPasswordForm)),
		at("POST /console/sign-in/password", "", c.atStage(staff.StagePassword, c.firstPassword)),
		at("GET /console/sign-in/second-factor", "", c.atStage(staff.StageEnrol, c.enrolForm)),
		at("POST /console/sign-in/second-factor", "", c.atStage(staff.StageEnrol, c.enrol)),
		at("POST /console/sign-out", "", c.signOut),
	}
}

// accountPages are what everybody may do about the own sign-in.
func (c *Console) accountPages() []page {
	return []page{
		at("GET /console/account", "", c.account),
		at("POST /console/account/password", "", c.changePassword),
		at("GET /console/account/second-factor", "", c.enrolForm),
		at("POST /console/account/second-factor", "", c.enrol),
	}
}

// atStage lets a page be seen only while the sign-in is there.
func (c *Console) atStage(s staff.Stage, next func(v *visit) error) func(v *visit) error {
	return func(v *visit) error {
		if v.session.Stage != s {
			v.toSignIn()
			return nil
		}
		return next(v)
	}
}

// A signInPage is the form for name and password, or what was wrong with it.
type signInPage struct {
	Name  string
	Next  string
	Fault string
}

func (c *Console) signInForm(v *visit) error {
	if v.session.Stage != "" {
		http.Redirect(v.w, v.r, stagePath(v.session.Stage), http.StatusSeeOther)
		return nil
	}
	return v.render("signin", signInPage{Next: nextPath(v.form("next"))})
}

// nextPath takes only pages of our own.
func nextPath(p string) string {
	if ownPath(p) {
		return p
	}
	return ""
}

func (c *Console) signIn(v *visit) error {
	name := v.form("name")
	token, sess, err := c.Staff.SignIn(v.Context(), name, v.r.PostFormValue("password"), v.address())
	if fault, status := signInFault(err); fault != "" {
		return v.renderAs(status, "signin", signInPage{name, nextPath(v.form("next")), fault})
	}
	if err != nil {
		return err
	}
	return v.goOn(token, sess.Stage)
}

// signInFault says to the person what was wrong; empty for everything that is not this person's doing.
func signInFault(err error) (string, int) {
	if l, ok := errors.AsType[*staff.Locked](err); ok {
		return "尝试次数过多，已暂停登录，请在 " + l.Until.In(beijing).Format("15:04") + " 之后再试，或联系管理员重设密码。", http.StatusTooManyRequests
	}
	switch {
	case errors.Is(err, staff.ErrSignIn):
		return "登录名或密码不正确。", http.StatusUnprocessableEntity
	case errors.Is(err, staff.ErrCode):
		return "口令不正确、已过期或已用过，请等下一个口令再试。", http.StatusUnprocessableEntity
	}
	if f, ok := errors.AsType[courier.Faults](err); ok {
		return f[0].Detail + "。", http.StatusUnprocessableEntity
	}
	return "", 0
}

// goOn gives the browser the token of the next stage and leads there.
func (v *visit) goOn(token string, s staff.Stage) error {
	v.remember(token)
	to := stagePath(s)
	if next := nextPath(v.form("next")); next != "" && s == staff.StageFull {
		to = next
	}
	return v.redirect(to, "")
}

// A stepPage is a later step of the sign-in.
type stepPage struct {
	Fault string
	First bool // as a step of the sign-in, not from the account page
}

func (c *Console) codeForm(v *visit) error { return v.render("signin_code", stepPage{First: true}) }

func (c *Console) giveCode(v *visit) error {
	token, sess, err := c.Staff.GiveCode(v.Context(), v.session, v.form("code"), v.address())
	if fault, status := signInFault(err); fault != "" {
		return v.renderAs(status, "signin_code", stepPage{fault, true})
	}
	if err != nil {
		return err
	}
	return v.goOn(token, sess.Stage)
}

func (c *Console) firstPasswordForm(v *visit) error {
	return v.render("password", stepPage{First: true})
}

func (c *Console) firstPassword(v *visit) error {
	return c.setPassword(v, stepPage{First: true}, func(token string) error {
		sess, err := c.Staff.Session(v.Context(), token)
		if err != nil {
			return err
		}
		return v.goOn(token, sess.Stage)
	})
}

func (c *Console) changePassword(v *visit) error {
	return c.setPassword(v, stepPage{}, func(token string) error {
		v.remember(token)
		return v.redirect("/console/account", "password_changed")
	})
}

func (c *Console) setPassword(v *visit, p stepPage, done func(token string) error) error {
	wanted := v.r.PostFormValue("password")
	err := error(courier.Faults{{Field: "again", Code: "different", Detail: "两次填写的新密码不一致"}})
	token := ""
	if wanted == v.r.PostFormValue("again") {
		token, err = c.Staff.ChangePassword(v.Context(), v.session, v.r.PostFormValue("old"), wanted)
	}
	if fault, status := signInFault(err); fault != "" {
		p.Fault = fault
		return v.renderAs(status, "password", p)
	}
	if err != nil {
		return err
	}
	return done(token)
}

// An enrolPage shows the secret of a second factor, or, once, its recovery codes.
type enrolPage struct {
	stepPage
	Secret   string // in groups of four, to be typed
	QR       qrCode
	Recovery []string
}

func (c *Console) enrolForm(v *visit) error { return c.showEnrolment(v, http.StatusOK, "") }

func (c *Console) showEnrolment(v *visit, status int, fault string) error {
	e, err := c.Staff.BeginEnrolment(v.Context(), v.User())
	if err != nil {
		return err
	}
	code, err := drawQR(e.URL)
	if err != nil {
		return err
	}
	return v.renderAs(status, "second_factor", enrolPage{stepPage: stepPage{fault, v.session.Stage == staff.StageEnrol}, Secret: grouped(e.Secret), QR: code})
}

func (c *Console) enrol(v *visit) error {
	token, recovery, err := c.Staff.ConfirmEnrolment(v.Context(), v.session, v.form("code"))
	if fault, status := signInFault(err); fault != "" {
		return c.showEnrolment(v, status, fault)
	}
	if err != nil {
		return err
	}
	v.remember(token)
	return v.render("second_factor", enrolPage{Recovery: recovery})
}

func grouped(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// A qrCode is drawn by the template as one path of unit squares, with a quiet zone of four.
type qrCode struct {
	Size int
	Path string
}

func drawQR(text string) (qrCode, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return qrCode{}, err
	}
	return darkSquares(code), nil
}

func (c *Console) signOut(v *visit) error {
	if v.session.Stage != "" {
		if err := c.Staff.SignOut(v.Context(), v.session); err != nil {
			return err
		}
	}
	v.remember("")
	v.session = staff.Session{}
	return v.redirect(signInPath, "signed_out")
}

// An accountPage is what a person sees of the own account.
type accountPage struct{ User staff.User }

func (c *Console) account(v *visit) error { return v.render("account", accountPage{v.User()}) }

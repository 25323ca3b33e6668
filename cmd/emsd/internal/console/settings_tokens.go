package console

import (
	"net/http"
	"strconv"
	"time"

	"emsd/courier"
	"emsd/courier/staff"
)

func (c *Console) tokenPages() []page {
	return []page{
		at("GET /console/settings/tokens", staff.ManageTokens, c.tokens),
		at("POST /console/settings/tokens", staff.ManageTokens, c.tokenCreate),
		at("POST /console/settings/tokens/{id}/rotate", staff.ManageTokens, c.tokenRotate),
		at("POST /console/settings/tokens/{id}/revoke", staff.ManageTokens, c.tokenRevoke),
	}
}

// tokensPage lists tokens, and which scopes there are.
type tokensPage struct {
	Tokens []courier.Token
	Now    time.Time
	Name   string
	Faults courier.Faults
}

// Over says whether a token is of no use any more.
func (p tokensPage) Over(t courier.Token) bool {
	return !t.RevokedAt.IsZero() || !t.ExpiresAt.IsZero() && !p.Now.Before(t.ExpiresAt)
}

// Former says whether the secret before the last change still opens a token.
func (p tokensPage) Former(t courier.Token) bool { return p.Now.Before(t.FormerUntil) }

func (c *Console) tokens(v *visit) error { return c.tokensWith(v, http.StatusOK, "", nil) }

func (c *Console) tokensWith(v *visit, status int, name string, faults courier.Faults) error {
	all, err := c.Service.Tokens(v.Context())
	if err != nil {
		return err
	}
	return v.renderAs(status, "settings_tokens", tokensPage{all, c.Clock.Now(), name, faults})
}

func (c *Console) tokenCreate(v *visit) error {
	days, err := strconv.Atoi(v.form("days"))
	if err != nil || days < 1 || days > 3650 {
		return c.tokensWith(v, http.StatusUnprocessableEntity, v.form("name"), courier.Faults{{Field: "days", Code: "range", Detail: "有效期应为1至3650天"}})
	}
	secret, t, err := c.Service.CreateToken(v.Context(), v.form("name"), v.r.PostForm["scopes"], time.Duration(days)*24*time.Hour, v.User().Actor())
	if faults := faultsIn(&err); len(faults) > 0 {
		return c.tokensWith(v, http.StatusUnprocessableEntity, v.form("name"), faults)
	}
	if err != nil {
		return err
	}
	return v.render("settings_secret", secretPage{"接口令牌", t.Name, secret, "请立即交给接入方妥善保存；系统只保存其摘要，之后无法再次查看。", "/console/settings/tokens"})
}

// tokenOverlap is how long the secret before a change is good beside the new one.
const tokenOverlap = 24 * time.Hour

func (c *Console) tokenRotate(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	secret, t, err := c.Service.RotateToken(v.Context(), id, tokenOverlap, v.User().Actor())
	if err != nil {
		return err
	}
	return v.render("settings_secret", secretPage{"接口令牌新值", t.Name, secret,
		"请立即交给接入方妥善保存；系统只保存其摘要，之后无法再次查看。旧值到 " + beijingTime(t.FormerUntil, "2006-01-02 15:04") + " 失效。", "/console/settings/tokens"})
}

func (c *Console) tokenRevoke(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if err := c.Service.RevokeToken(v.Context(), id, v.User().Actor()); err != nil {
		return err
	}
	return v.redirect("/console/settings/tokens", "token_revoked")
}

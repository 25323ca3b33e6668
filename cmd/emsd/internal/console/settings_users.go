package console

import (
	"net/http"

	"emsd/courier"
	"emsd/courier/staff"
)

func (c *Console) userPages() []page {
	return []page{
		at("GET /console/settings/users", staff.ManageUsers, c.users),
		at("POST /console/settings/users", staff.ManageUsers, c.userCreate),
		at("POST /console/settings/users/{id}/disable", staff.ManageUsers, c.userDisable),
		at("POST /console/settings/users/{id}/enable", staff.ManageUsers, c.userEnable),
		at("POST /console/settings/users/{id}/password", staff.ManageUsers, c.userPassword),
		at("POST /console/settings/users/{id}/second-factor", staff.ManageUsers, c.userSecondFactor),
	}
}

// usersPage lists users; New is what the form held when it had faults.
type usersPage struct {
	Users    []staff.User
	Stations []courier.Station
	Self     string
	New      staff.User
	Faults   courier.Faults
}

func (c *Console) users(v *visit) error { return c.usersWith(v, http.StatusOK, staff.User{}, nil) }

func (c *Console) usersWith(v *visit, status int, form staff.User, faults courier.Faults) error {
	all, err := c.Staff.Users(v.Context())
	if err != nil {
		return err
	}
	stations, err := c.Service.Stations(v.Context())
	if err != nil {
		return err
	}
	return v.renderAs(status, "settings_users", usersPage{all, stations, v.User().Name, form, faults})
}

// secretPage shows a password or a token once; it is in no URL and not kept.
type secretPage struct {
	What, Whose, Secret, Hint, Back string
}

func (c *Console) userCreate(v *visit) error {
	form := staff.User{Name: v.form("name"), FullName: v.form("full_name"), Role: staff.Role(v.form("role")), Station: v.form("station")}
	u, password, err := c.Staff.Create(v.Context(), form, "", v.User().Actor())
	if faults := faultsIn(&err); len(faults) > 0 {
		return c.usersWith(v, http.StatusUnprocessableEntity, form, faults)
	}
	if err != nil {
		return err
	}
	return v.render("settings_secret", secretPage{"初始密码", u.FullName + "（" + u.Name + "）", password, "首次登录时须更改。请当面或电话告知本人。", "/console/settings/users"})
}

func (c *Console) userDisable(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if id == v.User().ID {
		return &courier.Conflict{Code: "own_user", Detail: "不能停用自己，请由另一位管理员操作"}
	}
	if err := c.Staff.Disable(v.Context(), id, v.User().Actor()); err != nil {
		return err
	}
	return v.redirect("/console/settings/users", "user_disabled")
}

func (c *Console) userEnable(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if err := c.Staff.Enable(v.Context(), id, v.User().Actor()); err != nil {
		return err
	}
	return v.redirect("/console/settings/users", "user_enabled")
}

func (c *Console) userPassword(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	password, err := c.Staff.ResetPassword(v.Context(), id, "", v.User().Actor())
	if err != nil {
		return err
	}
	return v.render("settings_secret", secretPage{"新密码", "该用户", password, "原有登录已全部退出，下次登录时须更改。请当面或电话告知本人。", "/console/settings/users"})
}

func (c *Console) userSecondFactor(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if err := c.Staff.ResetSecondFactor(v.Context(), id, v.User().Actor()); err != nil {
		return err
	}
	return v.redirect("/console/settings/users", "second_factor_reset")
}

package console

// notices are the sentences that a page may show after something was done; the URL carries only their names, so that no
// link can put words into our mouth.
var notices = map[string]string{
	"signed_out":       "您已退出。",
	"password_changed": "密码已更改，您在其他浏览器上的登录已全部退出。",
	"second_factor":    "动态口令已启用。",
}

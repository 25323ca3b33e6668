package console

// notices are the sentences that a page may show after something was done; the URL carries only their names, so that no
// link can put words into our mouth.
var notices = map[string]string{
	"signed_out":          "您已退出。",
	"password_changed":    "密码已更改，您在其他浏览器上的登录已全部退出。",
	"saved":               "已保存。",
	"user_disabled":       "该用户已停用，其登录已全部退出。",
	"user_enabled":        "该用户已恢复。",
	"second_factor_reset": "该用户的动态口令已取消，下次登录时重新设置。",
	"token_revoked":       "令牌已吊销。",
	"number_stopped":      "该号码已停发。",
	"number_lifted":       "该号码已恢复发送。",
	"second_factor":       "动态口令已启用。",
}

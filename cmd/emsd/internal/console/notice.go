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

	"unmasked": "个人信息显示 5 分钟，到时自动遮盖。", "masked": "个人信息已遮盖。",
	"paid": "付款已登记。", "refunded": "退款已登记。", "cancelled": "已取消，或已向邮政申请取消。", "retried": "已重新下单。", "address": "新地址已登记。",
	"handed_over": "交寄已登记。", "not_received": "已登记“未收到”，请按事项办理。", "intervened": "已登记，请留意结果。", "intervention_closed": "结果已登记。",
	"redispatched": "已建立新的寄递。", "asked": "已请邮政查询，结果几秒后可见。", "proposed": "已提请复核，请另一位复核主管确认。",
	"proposal_confirmed": "已同意并办理。", "proposal_rejected": "已退回，未作任何变更。", "proposal_withdrawn": "已撤回。",
	"stop_proposed":    "已登记，请另一位有复核权限的同事确认。",
	"decided":          "已处理。",
	"removed":          "已从清单移除。",
	"manifest_closed":  "已封单，清单上的邮件全部登记交寄。请打印清单，双方签字。",
	"return_moved":     "已移架。",
	"return_picked_up": "已登记领取。",
	"return_disposed":  "已登记处理。",
	"case_taken":       "已领取，事项在您名下。",
	"case_handed_over": "已转交。",
	"case_released":    "已退回，其他同事可以领取。",
	"case_closed":      "事项已办结。",
	"no_bill":          "EMS 还没有这个月的对账单，请过几天再查询。",
	"bill_known":       "EMS 这个月的对账单先前已导入，没有新的内容。",
	"bill_fetched":     "已从 EMS 取得对账单并完成核对。",
}

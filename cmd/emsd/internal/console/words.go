package console

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/intake"
	"emsd/courier"
	"emsd/courier/staff"
	"emsd/courier/vault"
	"emsd/notify"
)

// beijing is where clerks and residents are; pages know no other time.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// words are the functions of templates.
var words = template.FuncMap{
	"date":         func(t time.Time) string { return beijingTime(t, "2006-01-02") },
	"moment":       func(t time.Time) string { return beijingTime(t, "2006-01-02 15:04") },
	"clock":        func(t time.Time) string { return beijingTime(t, "15:04:05") },
	"stamp":        func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"yuan":         yuan,
	"status":       func(s courier.Status) string { return known(statusWords, s) },
	"case":         func(k courier.CaseKind) string { return known(caseWords, k) },
	"verdictClass": func(x courier.Verdict) string { return verdictClasses[x] },
	"verdict":      func(x courier.Verdict) string { return known(verdictWords, x) },
	"proposal":     proposalTitle,
	"intervene":    func(k string) string { return known(interveneWords, k) },
	"intervention": func(k string) string { return known(interventionStates, k) },
	"business":     func(k string) string { return known(factWords, k) },
	"role":         func(r staff.Role) string { return known(roleWords, r) },
	"actor":        actor,
	"maskName":     vault.MaskName,
	"maskPhone":    vault.MaskPhone,
	"maskID":       vault.MaskID,
	"reveal":       vault.Secret.Reveal,
	"statuses":     func() []courier.Status { return courier.Statuses },
	"roles":        func() []staff.Role { return staff.Roles },
	"short":        func(id fmt.Stringer) string { return id.String()[:8] },
	"minutes":      func(d time.Duration) int { return int(d.Minutes()) },
	"sentence":     func(rule string) string { return courier.Sentences[rule] },
	"dashIfNone":   func(s string) string { return orDash(s) },

	"callOutcome": func(value string) string {
		for _, o := range callOutcomes {
			if o.Value == value {
				return o.Title
			}
		}
		return value
	},
	"upload":      func(state string) string { return known(uploadWords, state) },
	"columnName":  columnName,
	"ended":       func(outcome string) string { return known(endedWords, outcome) },
	"stationKind": func(kind string) string { return known(stationWords, kind) },
	"stationKinds": func() []string {
		return []string{courier.KindPoliceStation, courier.KindBookedWindow, courier.KindRegistrationStation}
	},
	"policyValue":   func(value string) string { return known(policyWords, value) },
	"auditAction":   func(action string) string { return known(auditWords, action) },
	"auditField":    func(name string) string { return known(auditFields, name) },
	"auditValue":    auditValue,
	"refusalSource": func(source string) string { return known(refusalWords, source) },
	"weekday": func(t time.Time) string {
		return "周" + string([]rune("日一二三四五六")[t.In(beijing).Weekday()])
	},
	"hookOff":     func(why string) string { return known(hookOffWords, why) },
	"hookOutcome": func(outcome string) string { return known(hookOutcomeWords, outcome) },
	"gateway":     func(name string) string { return known(gatewayWords, name) },
	"registered":  func(state string) string { return known(registrationWords, state) },
	"carrier":     func(name string) string { return known(carrierNames, name) },
	"textTitle":   textTitle,
	"span":        span,
	"tokenScopes": func() []tokenScope { return tokenScopes },
}

func beijingTime(t time.Time, layout string) string {
	if t.IsZero() {
		return "—"
	}
	return t.In(beijing).Format(layout)
}

// columnName is the Chinese name of a column that is told as "phone 手机"; a column that has only one is told by it.
func columnName(title string) string {
	if _, chinese, ok := strings.Cut(title, " "); ok {
		return chinese
	}
	return title
}

func orDash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}

// yuan writes fen as people write money.
func yuan(fen int64) string { return fmt.Sprintf("%d.%02d 元", fen/100, fen%100) }

// span writes how long something has been, as roughly as people say it.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d 秒", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d 分钟", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d 小时", int(d.Hours()))
	}
	return fmt.Sprintf("%d 天", int(d.Hours()/24))
}

// known gives the word for a value; a value that has none is shown as it is rather than hidden.
func known[K ~string](words map[K]string, k K) string {
	if w := words[k]; w != "" {
		return w
	}
	return string(k)
}

// actor tells who did something: a colleague by sign-in name, a system by the name of its token.
func actor(by string) string {
	if name, ok := strings.CutPrefix(by, "staff:"); ok {
		return name
	}
	if name, ok := strings.CutPrefix(by, "operator"); ok {
		return "运维人员" + strings.Replace(name, ":", " ", 1)
	}
	if by == "" || by == "emsd" {
		return "系统"
	}
	return by + "（接口）"
}

var statusWords = map[courier.Status]string{
	courier.Refused: "不予寄递", courier.AwaitingPayment: "待付费", courier.Approved: "待下单", courier.Ordering: "下单中", courier.Ordered: "待交寄",
	courier.Accepted: "邮政已收寄", courier.InTransit: "运输中", courier.OutForDelivery: "派送中", courier.AttemptFailed: "投递未成", courier.Held: "待领取",
	courier.Delivered: "已妥投", courier.Returning: "退回途中", courier.Returned: "已退回", courier.Lost: "已遗失", courier.Cancelled: "已取消",
}

var caseWords = map[courier.CaseKind]string{
	courier.CaseOrderRefused: "邮政拒单", courier.CaseOrderUnknown: "下单结果不明", courier.CaseAddress: "地址问题", courier.CaseUnpaid: "逾期未付费",
	courier.CaseStalled: "长时间无进展", courier.CaseUnknownCode: "不认识的物流代码", courier.CaseDeliveredElsewhere: "非本人签收", courier.CaseNotReceived: "申请人称未收到",
	courier.CaseHeld: "逾期未领取", courier.CaseReturned: "退件待处理", courier.CaseSMSFailed: "短信未送达", courier.CaseFeeDifference: "资费差异", courier.CaseLost: "邮件遗失",
	courier.CaseWebhookDisabled: "推送地址停用",
}

// endedWords say how the system ended a case or a report; what a clerk chose is in words already.
var endedWords = map[string]string{
	"moved_on": "已有进展", "settled": "已缴费或已取消", "billed_later": "已列入后来的账单", "enabled": "已启用", "deleted": "已删除", "arrived": "已送达", "address_changed": "地址已更改",
	"paid": "已付费", "resolved": "已解决", "cancelled": "已取消", "intervention_agreed": "邮政已同意", "intervention_done": "在途处理已办成", "intervention_failed": "在途处理未办成",
	courier.OutcomeFound: "已找到", courier.OutcomeResent: "邮政重新投递", courier.OutcomeLost: "登记遗失",
}

var uploadWords = map[string]string{
	intake.Checking: "正在检查", intake.Checked: "待确认", intake.Loading: "正在导入", intake.Loaded: "已导入", intake.Broken: "无法读取", intake.Discarded: "已放弃",
}

var stationWords = map[string]string{
	courier.KindPoliceStation: "派出所", courier.KindRegistrationStation: "流管站", courier.KindBookedWindow: "网约受理窗口",
}

// policyWords name what policies allow.
var policyWords = map[string]string{
	courier.Exchange: "卡换证", courier.RoutePoliceStation: "派出所", courier.RouteOnline: "网上申请", "platform": "居住证服务平台", "counter": "派出所现场",
	"residence": "合法稳定住所", "employment": "合法稳定就业", "study": "连续就读", "unchanged": "身份与住址均未变化", "changed": "身份或住址有变化",
	"applicant": "办理人", courier.CarrierEMS: "EMS",
}

// auditWords name what the audit chain records; a page shows the action's own name where it has none.
var auditWords = map[string]string{
	"sign_in": "登录", "sign_in.failed": "登录失败", "sign_out": "退出", "unmask": "查看个人信息", "answers.read": "查看邮政原始应答",
	"user.create": "新增用户", "user.disable": "停用用户", "user.enable": "恢复用户", "user.password": "重设密码", "user.second_factor_reset": "取消动态口令",
	"delivery.erase": "按期删除个人信息", "token.create": "新增令牌", "token.rotate": "换发令牌", "token.revoke": "吊销令牌", "policy.open": "开放规定", "policy.end": "截止规定", "tariff.add": "新增资费", "station.save": "保存受理点",
	"do_not_send.add": "停发号码", "do_not_send.lift": "恢复号码", "upload.add": "上传文件", "upload.load": "导入文件", "upload.discard": "放弃文件", "upload.bad_rows": "下载问题行",
	"case.close": "办结事项", "case.take": "领取事项", "case.hand_over": "转交事项", "case.release": "退回事项", "case.called": "登记通话", "calls.seen": "查看电话清单", "code.decide": "认定物流代码", "handover": "交寄", "refund": "退费", "redispatch": "再次寄递", "return.receive": "退件入柜", "return.move": "退件移架", "return.pick_up": "退件领取",
	"return.sent_back": "退件交回制证部门", "return.destroyed": "退件销毁",
	"label.print": "打印面单", "label.seen": "接口取得面单", "deliveries.seen": "接口列表查看完整信息",
	"manifest.open": "开交接清单", "manifest.add": "列入交接清单", "manifest.remove": "移出交接清单", "manifest.close": "交接清单封单",
	"pack.match": "装封核对：相符", "pack.mismatch": "装封核对：不符", "pack.stopped": "装封核对：先前不符，尚未处理", "pack.unknown_waybill": "装封核对：查无此面单",
	"pack.superseded_label": "装封核对：旧面单", "pack.not_ready": "装封核对：尚不能装封", "pack.withdrawn": "装封核对：取消或改址中",
	"bill.import": "导入对账单", "bill.settle": "对账单差异办结", "message.test_send": "发送测试短信", "message.self_test": "发送自测短信",
	"webhook.create": "新增订阅方", "webhook.change": "修改订阅方", "webhook.enable": "启用推送", "webhook.delete": "删除订阅方", "webhook.rotate_secret": "更换签名密钥",
	"webhook.test": "发送测试消息", "webhook.replay": "重新推送", "webhook.disable": "停用推送",
	"intervene.close": "在途干预办结", "cancel": "取消", "retry": "重新下单", "address": "更改地址", "not_received": "登记未收到", "declare_lost": "登记遗失",
	"intervene.readdress": "在途改址", "intervene.withdraw": "撤回邮件", "intervene.urge": "催促投递", "intervene.redeliver": "请求再投",
	"not_received.found": "“未收到”办结：已找到", "not_received.resent": "“未收到”办结：重新投递", "not_received.lost": "“未收到”办结：遗失",
	"propose.declare_lost": "提请登记遗失", "propose.not_received": "提请办结“未收到”", "propose.pack_mismatch": "提请放行装袋不符",
	"proposal.confirmed": "复核同意", "proposal.rejected": "复核不同意", "proposal.withdrawn": "撤回提请", "ask_ems": "请邮政查询",
	"delivery.accept": "收到申请", "delivery.accept_many": "收到一批申请", "delivery.seen": "接口查看完整信息", "payment.record": "登记付款",
	"search.person": "按手机号或身份证号查找", "queue.export": "导出队列", "user.password_changed": "更改自己的密码", "user.second_factor": "启用动态口令",
	"sign_in.code_failed": "动态口令错误", "user.recovery_code_used": "使用备用码登录", "user.keep_password": "保留初始密码",
}

// sourceWords say where something that is audited came from.
var sourceWords = map[string]string{
	"reply": refusalWords["reply"], "wrong_person": refusalWords["wrong_person"], "clerk": refusalWords["clerk"], courier.BillFromEMS: "EMS 接口", courier.BillFromFile: "文件",
}

var refusalWords = map[string]string{"reply": "回复短信", "wrong_person": "号码不是本人", "clerk": "工作人员"}

// hookOffWords say why a subscriber is told nothing.
var hookOffWords = map[string]string{"operator": "已暂停", "gone": "对方已停止接收", "failing": "长期失败，已停用"}

var hookOutcomeWords = map[string]string{
	"delivered": "已送达", "refused": "对方拒收", "gone": "对方已停止接收", "redirect": "对方要求转址，未跟随", "timeout": "超时无应答",
	"unreachable": "无法连接", "forbidden": "地址不在允许名单中", "unreadable": "本机密钥无法读取",
}

var gatewayWords = map[string]string{"aliyun": "阿里云", "tencent": "腾讯云", "mas": "云MAS", "log": "仅写日志（不发送）"}

var carrierNames = map[string]string{"mobile": "中国移动", "unicom": "中国联通", "telecom": "中国电信"}

// registrationWords say what vendors and carriers have made of a template or signature.
var registrationWords = map[string]string{
	"approved": "已审核", "in_review": "审核中", "refused": "未通过", "cancelled": "已撤销", notify.NotAsked: "查询失败", notify.OtherWords: "审核的文字与系统中的不同",
	"registered": "已报备", "to_verify": "待验证（可发送）", "in_progress": "报备中", "failed": "报备失败", "lapsed": "报备已失效", "not_registered": "未报备",
}

// A tokenScope is what a token may be for.
type tokenScope struct{ Name, Title string }

var tokenScopes = []tokenScope{
	{"permits", "提交与取消寄递"}, {"payments", "登记缴费与退费"}, {"read", "查询与事件流（遮蔽个人信息）"},
	{"clerk", "窗口操作（可见个人信息）"}, {"admin", "全部权限"},
}

var roleWords = map[staff.Role]string{
	staff.Counter: "窗口人员", staff.BackOffice: "后台人员", staff.Supervisor: "复核主管", staff.Administrator: "管理员", staff.Auditor: "审计人员",
}

var verdictWords = map[courier.Verdict]string{
	courier.MayNot: "不能寄递", courier.MayWhen: "暂不能寄", courier.MaySend: "可以寄递", courier.Stuck: "须先处理", courier.IsSent: "已寄出", courier.NotAny: "已停止",
}

// verdictClasses are the colours of the tags; the words say the same without them.
var verdictClasses = map[courier.Verdict]string{courier.MayNot: "bad", courier.MayWhen: "warn", courier.MaySend: "good", courier.Stuck: "bad"}

var factWords = map[string]string{
	courier.Exchange: "卡换证", courier.Extension: "延期签注", courier.Change: "信息变更", courier.RoutePoliceStation: "派出所", courier.RouteOnline: "网上申请",
	courier.RouteRegistrationStation: "流管站", "residence": "合法稳定住所", "employment": "合法稳定就业", "study": "连续就读", courier.Prepaid: "预付",
	courier.Collect: "到付（收件时付）",
}

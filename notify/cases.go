package notify

import (
	"time"

	"emsd/courier"

	"github.com/google/uuid"
)

// callActions say what a clerk does when a resident could not be told.
var callActions = map[Milestone]string{
	PaymentDue:     "电话通知申请人缴纳邮费",
	HandedOver:     "短信未送达，电话核对收件人手机号",
	OutForDelivery: "短信未送达，电话提醒收件人今日派送",
	AttemptFailed:  "电话通知收件人约定再投时间",
	Held:           "电话通知收件人尽快领取并告知最后一天",
	Delivered:      "短信未送达，电话核实收件人是否已收到",
	Returned:       "电话通知收件人到受理派出所领取",
	Cancelled:      "电话通知申请人寄递已取消",

	HandedOverPassword:     "收件人还不知道签收密码：电话告知投递时须出示身份证件，并请投递网点（" + hotline + "）核验证件后放行",
	OutForDeliveryPassword: "收件人还不知道签收密码而邮件今日派送：立即电话告知须出示身份证件，并请投递网点（" + hotline + "）核验证件后放行",
}

// mustKnow lists the milestones that ask something of the resident: for them a message that may not have arrived is a
// call, too. After the others the next news follows by itself, or nothing needs to be done.
var mustKnow = map[Milestone]bool{PaymentDue: true, AttemptFailed: true, Held: true, Returned: true}

// caseWithin is how long a clerk has for a call.
const caseWithin = 24 * time.Hour

// smsFailed is the case for a message that did not arrive. The detail is for clerks and holds no personal data.
func smsFailed(delivery uuid.UUID, m Milestone, detail string, now time.Time, within time.Duration) courier.NewCase {
	return courier.NewCase{
		DeliveryID: delivery, Kind: courier.CaseSMSFailed, OpenedAt: now, DueAt: now.Add(within),
		NextAction: callActions[m], Detail: m.Title() + "：" + detail,
	}
}

// classWords say what a failure means to a clerk.
var classWords = map[Class]string{
	Unknown:       "网关没有给出明确结果",
	Unsent:        "无法连接短信网关",
	Transient:     "短信网关暂时拒绝",
	Throttle:      "超出短信网关的频次限制，稍后再发",
	Permanent:     "短信网关拒绝这条短信的内容",
	Recipient:     "该号码无法接收短信",
	Configuration: "短信网关账户、签名或模板有问题，需运维处理",
	Unregistered:  "该号码的运营商未登记我方短信签名，需运维处理",
}

// explain joins a class's words with the gateway's code.
func explain(c Class, code string) string {
	if code == "" {
		return classWords[c]
	}
	return classWords[c] + "（" + code + "）"
}

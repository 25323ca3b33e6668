package emssim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// Operation codes that journeys are made of.
const (
	opAccept     = "203"
	opSend       = "305"
	opBranch     = "306"
	opLeave      = "389"
	opCentre     = "954"
	opFly        = "911"
	opLand       = "912"
	opCourier    = "702"
	opDelivered  = "704"
	opFailed     = "705"
	opReturning  = "708"
	opReturned   = "711"
	opCounter    = "723"
	opLocker     = "747"
	opTaken      = "748"
	opOdd        = "651"
	opStop       = "993"
	opStopped    = "013"
	opLost       = "987"
	handOverHour = 9
)

// opNames is the domestic part of the platform's dictionary (dossier section 4.1); scans added by a test find their
// names here.
var opNames = map[string]string{
	"203": "收寄计费信息", "208": "客户交接", "207": "揽收环节删除邮件", "212": "客户交接取消", "303": "揽收批量配发", "304": "揽投配发取消",
	"305": "揽投发运/封车", "306": "揽投解车", "312": "转退营业", "326": "退件封发", "389": "处理中心封车", "404": "交航扫描", "405": "库区退回扫描",
	"447": "退回邮件开拆", "448": "退回邮件开拆删除", "472": "交航扫描删除", "474": "库区退回扫描删除", "482": "交换站退回扫描", "483": "交换站退回扫描删除",
	"651": "物流异常提醒", "702": "投递邮件接收-下段", "704": "投递结果反馈-妥投", "705": "投递结果反馈-未妥投", "708": "退件登记", "711": "退回妥投",
	"713": "到达投递机构", "723": "转窗投", "741": "妥投退回登记", "742": "投递邮件接收-下段撤销", "743": "投递结果反馈-妥投撤销",
	"744": "投递结果反馈-未妥投撤销", "747": "包裹柜/自提点已接收", "748": "收件人已取走邮件", "749": "投递员取走邮件", "750": "投递员收回邮件",
	"751": "包裹柜运营管理员取走邮件", "756": "电子渠道收件人改址", "764": "已支付尾款", "801": "撤单", "802": "改址", "803": "总部改址",
	"911": "航班起飞", "912": "航班降落", "950": "送交承运商", "954": "邮件到达处理中心", "987": "丢失已赔付（协议客户）", "988": "丢失已赔付（收件人）",
	"989": "离开处理中心", "991": "长途运输提示", "993": "F邮件拦截指令发布", "013": "订单拦截成功",
}

// org is an office of the post.
type org struct{ code, name, prov, city string }

// branch is the collecting and delivering office of a county.
func branch(a address) org {
	words := []string{"建设路", "和平里", "东风", "新华", "解放路", "光明", "人民路", "胜利", "朝阳门", "文化路"}
	n := hashText(a.prov + a.city + a.county)
	name := a.city + a.county + words[n%uint64(len(words))] + "揽投部"
	if a.city == a.county {
		name = a.city + words[n%uint64(len(words))] + "揽投部"
	}
	return org{fmt.Sprintf("%s%02d", regionCode(a), n>>8%90+10), name, a.prov, a.city}
}

// centre is the processing centre of a city.
func centre(a address) org {
	code := regionCode(a)
	if len(code) < 4 {
		code = "0000"
	}
	return org{code[:4] + "0001", strings.TrimSuffix(a.city, "市") + "邮件处理中心", a.prov, a.city}
}

// hub is the processing centre of a province, where its flights land.
func hub(a address) org {
	code := regionCode(a)
	if len(code) < 2 {
		code = "00"
	}
	stem := a.prov
	for _, tail := range []string{"维吾尔自治区", "壮族自治区", "回族自治区", "自治区", "省", "市"} {
		if s, ok := strings.CutSuffix(stem, tail); ok {
			stem = s
			break
		}
	}
	return org{code[:2] + "000002", stem + "航空邮件处理中心", a.prov, a.city}
}

// person is an invented member of staff. The traces of the real EMS carry such names and numbers, and a client must
// not pass them on.
type person struct{ name, phone, staffNo string }

func newPerson(rng *rand.Rand) person {
	family := []rune("王李张刘陈杨赵黄周吴徐孙")
	given := []string{"建军", "海涛", "志强", "晓东", "立新", "国庆", "丽华", "红梅", "永刚", "春生"}
	return person{
		name:    string(family[rng.IntN(len(family))]) + given[rng.IntN(len(given))],
		phone:   fmt.Sprintf("1390000%04d", rng.IntN(10_000)),
		staffNo: fmt.Sprintf("%08d", rng.IntN(100_000_000)),
	}
}

// machine signs the scans that no person makes.
var machine = person{name: "系统自动", staffNo: "XTZD"}

func hashText(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return mix(h.Sum64(), 0)
}

// mix is the finaliser of SplitMix64: neighbouring inputs give unrelated outputs.
func mix(a, b uint64) uint64 {
	x := a + 0x9e3779b97f4a7c15*(b+1)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

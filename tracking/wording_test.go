package tracking

import (
	"strings"
	"testing"
	"time"
)

func TestI7_WordingsOfADelivery(t *testing.T) {
	t.Parallel()
	const tail = "，如有疑问请电联快递员【王某，电话:13800000000】，投诉请致电11183。"
	tests := []struct{ text, want string }{
		{"您的快件已签收【本人，，】", "self"},
		{"您的快件已签收【本人，，窗口领取】", "self"},
		{"投递并签收，签收人：本人", "self"},
		{"快件已妥收", "self"},
		{"快件已妥投【本人】", "self"},
		{"您的邮件已由本人签收", "self"},
		{"您的快件已代签收【家人，，】", "family"},
		{"您的快件已代签收【家属代收，，】", "family"},
		{"已签收，他人代收：家人", "family"},
		{"您的快件已由收件人家属代签收", "family"},
		{"您的快件已代签收【同事，，】", "colleague"},
		{"您的快件已代签收【朋友，，】", "agent"},
		{"已代收【邻居】", "agent"},
		{"您的快件已代签收", "agent"},
		{"您的快件已代签收【李某，，】", "agent"},
		{"您的快件已由李某代签收", "agent"},
		{"您的快件已代签收【本人，，】", "agent"},
		{"您的快件已代签收【收发室，，】", "reception"},
		{"您的快件已签收【大厦前台】", "reception"},
		{"您的快件已代签收【物业，，】", "property"},
		{"您的快件已由小区门卫代收", "property"},
		{"您的快件已代签收【门口保安，，】", "property"},
		{"您的快件已签收【单位，，】", "office"},
		{"您的快件已放在办公室", "office"},
		{"您的快件已签收【村委会】", "village_committee"},
		{"您的快件已签收【菜鸟驿站】", "pickup_point"},
		{"您的快件已投递至示例代收点", "pickup_point"},
		{"您的快件已存放【丰巢快递柜】", "locker"},
		{"您的快件已放入示例小区蜂巢", "locker"},
		{"您的快件已签收【包裹柜，本人】", "locker"},
		{"您的快件已放在家门口", "door"},
		{"您的快件已投放（门把手）", "door"},
		{"您的快件已投放【水表箱】", "meter_box"},
		{"您的快件已放入电表箱", "meter_box"},
		{"您的快件已放置：消防栓", "meter_box"},
		{"您的快件已放在鞋架上", "meter_box"},
		{"您的快件已投入信报箱", "letterbox"},
		{"您的快件已放入牛奶箱", "letterbox"},
		{"您的快件已签收【其他，，】", "other"},
		{"快件已由【北京中心】发出，已签收【本人】", "self"},
		{"快件已由投递员本人派送，已签收【物业】", "property"},

		{"", ""},
		{"您的快件已妥投", ""},
		{"您的快件已签收【张某，，】", ""}, // a name: nobody knows whose
		{"您的快件已妥收【张某】", ""},
		{"您的快件已由张某签收", ""},
		{"快件正在派送中，准备签收", ""},
		{"您的快件已妥投，投递员【本人】", ""},
		{"您的快件已妥投，投递员家人，地址：物业楼门口", ""},
		{"本人物业家门口", ""},
		{"请收件人本人签收", ""},
	}
	for _, tt := range tests {
		for _, text := range []string{tt.text, tt.text + tail, "【北京市】" + tt.text + tail} {
			if got := SaidClass(text); got != tt.want {
				t.Errorf("SaidClass(%q) = %q, want %q", text, got, tt.want)
			}
		}
	}
}

func TestAPlaceOfCollectionIsReadFromItsText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"快件已到【示例小区包裹柜】，请凭取件码及时取件": "locker",
		"快件已到【示例驿站】，如有疑问请电联快递柜客服": "pickup_point",
		"快件已到【示例驿站丰巢】":            "", // both: the shorter term counts
		"快件已到达":                   "",
	} {
		if got := saidPlace(text); got != want {
			t.Errorf("saidPlace(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestTheLastDayIsReadFromItsText(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 20, 30, 0, 0, beijing)
	tests := []struct{ text, want string }{
		{"请于11月28日前领取", "2026-11-28"},
		{"请于2026年11月28日前领取", "2026-11-28"},
		{"请于11月28日18时前取件", "2026-11-28"},
		{"保管至12月3日", "2026-12-03"},
		{"截止2026-12-01，逾期退回", "2026-12-01"},
		{"请于1月3日前领取", "2027-01-03"},
		{"免费保管3天", "2026-11-28"},
		{"保管期限：5日", "2026-11-30"},
		{"领取期限三天", "2026-11-28"},
		{"请在十五日内领取", "2026-12-10"},
		{"请在24小时内取件", "2026-11-27"},
		{"请于3小时内取件", "2026-11-26"},
		{"免费保管3个工作日", "2026-11-28"}, // plain days: never too late
		{"请于11月26日前领取", "2026-11-26"},

		{"", ""},
		{"请尽快领取", ""},
		{"请于11月25日前领取", ""}, // the next is a year away
		{"请于2026年11月25日前领取", ""},
		{"请于2027年11月28日前领取", ""},
		{"请于2月30日前领取", ""},
		{"请于13月1日前领取", ""},
		{"免费保管0天", ""},
		{"免费保管300天", ""},
		{"请在999小时内取件", "2027-01-07"},
		{"快件11月28日到达", ""},
		{"取件码11-28-3004", ""},
	}
	for _, tt := range tests {
		got := ""
		if day := SaidUntil(tt.text, at); !day.IsZero() {
			got = day.Format(time.DateOnly)
		}
		if got != tt.want {
			t.Errorf("SaidUntil(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

// FuzzWording: any text gives a class that exists, and what stands around the phrase of signing changes nothing.
func FuzzWording(f *testing.F) {
	for _, s := range []string{"本人", "家人", "丰巢快递柜", "门口保安", "，，", "本人】【物业", "已由本人", "\xff\xfe", "签收人：物业，前台"} {
		f.Add("您的快件", s, "，如有疑问请电联快递员【王某】")
	}
	f.Add("请于11月28日前", "保管至", "24小时内免费保管十十天")
	at := time.Date(2026, 11, 26, 20, 30, 0, 0, beijing)
	f.Fuzz(func(t *testing.T, before, who, after string) {
		for _, text := range []string{before + who + after, who} {
			if class := SaidClass(text); class != "" && !isClass(class) {
				t.Fatalf("SaidClass(%q) = %q", text, class)
			}
			if class := saidPlace(text); class != "" && class != ReceiverLocker && class != ReceiverPickupPoint {
				t.Fatalf("saidPlace(%q) = %q", text, class)
			}
			if day := SaidUntil(text, at); !day.IsZero() && (day.Before(plainDay(at, 1)) || day.After(plainDay(at, farthest+1))) {
				t.Fatalf("SaidUntil(%q) = %s", text, day)
			}
		}
		if strings.ContainsAny(who, openers+closers) || strings.Contains(who, "已") || len(before)+len(who)+len(after) > 1000 || strings.Trim(who, " 　：:，,") == "" {
			return
		}
		if i, _ := firstAnchor(before + "已签收"); i != len(before) { // signing is told before, or across
			return
		}
		core := "已签收【" + who + "】"
		if want, got := SaidClass(core), SaidClass(before+core+after); got != want {
			t.Fatalf("SaidClass(%q) = %q, of the phrase alone %q", before+core+after, got, want)
		}
	})
}

"""The words and the style of the pages for people, apart from the code that puts them together."""

from __future__ import annotations

from collections.abc import Mapping

TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "language": "English",
        "notifications": "Sandbox mailbox",
        "payments": "Sandbox payments",
        "one_payment": "Payment",
        "note": "A practice service. No mail leaves this machine and no money moves.",
        "count": "{total:,} in all",
        "empty": "Nothing here.",
        "order": "Order",
        "to": "To",
        "subject": "Subject",
        "at": "Time",
        "payment_id": "Payment",
        "notification_id": "Notification",
        "amount": "Amount (JPY)",
        "key": "Idempotency key",
        "search": "Search",
        "all": "Show all",
        "back": "Back to the list",
        "newer": "Newer",
        "older": "Older",
        "page": "Page {page} of {pages}",
    },
    "ja": {
        "language": "日本語",
        "notifications": "サンドボックス メール一覧",
        "payments": "サンドボックス 決済一覧",
        "one_payment": "決済",
        "note": "練習用のサービスです。メールは外部に送信されず、実際の決済も行われません。",
        "count": "全 {total:,} 件",
        "empty": "該当するデータはありません。",
        "order": "注文 ID",
        "to": "宛先",
        "subject": "件名",
        "at": "日時",
        "payment_id": "決済 ID",
        "notification_id": "通知 ID",
        "amount": "金額（円）",
        "key": "冪等キー",
        "search": "検索",
        "all": "すべて表示",
        "back": "一覧に戻る",
        "newer": "新しいもの",
        "older": "古いもの",
        "page": "{page} / {pages} ページ",
    },
}

STYLE = """
:root{color-scheme:light dark;--line:#d9dde3;--soft:#5b6472;--back:#f5f6f8;--card:#fff;--ink:#1b2330;--link:#0b57c2}
@media(prefers-color-scheme:dark){:root{--line:#39414d;--soft:#a2acba;--back:#14181e;--card:#1d232b;--ink:#e8ebf0;
  --link:#8ab4f8}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.6 system-ui,"Hiragino Sans","Noto Sans CJK JP",
  "Noto Sans JP",sans-serif}
main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 3rem;position:relative}
h1{font-size:1.5rem;line-height:1.3;margin:.25rem 4rem .25rem 0;overflow-wrap:anywhere}
a{color:var(--link)}
.lang{position:absolute;right:1rem;top:1.9rem;font-size:.9rem}
.note,.count{color:var(--soft);margin:.25rem 0;font-size:.9rem}
.empty{padding:2rem;text-align:center;background:var(--card);border:1px solid var(--line);border-radius:8px;
  color:var(--soft)}
form{margin:1rem 0;display:flex;gap:.5rem;align-items:center;flex-wrap:wrap}
input,button{font:inherit;padding:.35rem .7rem;border:1px solid var(--line);border-radius:6px;background:var(--card);
  color:inherit}
button{cursor:pointer}
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line);border-radius:8px;
  overflow:hidden}
th,td{text-align:left;padding:.55rem .8rem;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child td{border-bottom:0}
th{font-size:.85rem;color:var(--soft);font-weight:600}
.order,.amount,.at{white-space:nowrap;font-variant-numeric:tabular-nums}
.at{color:var(--soft);font-size:.9rem}
.amount{text-align:right}
.to,.subject{overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1.2rem;margin:1rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.mail{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;background:var(--card);border:1px solid var(--line);
  border-radius:8px;padding:1.2rem;margin:1rem 0}
nav{display:flex;gap:1rem;justify-content:center;margin:1.2rem 0;color:var(--soft)}
@media(max-width:40rem){.at,th.at{display:none}th,td{padding:.5rem}}
"""

// Ask for a transfer from Node and sign it, without any package: `node signed_transfer.mjs CALL_ID support`.
import { createHmac, randomUUID } from "node:crypto";
import { connect } from "node:net";

const [, , call_id, destination] = process.argv, url = new URL(process.env.TRANSFER_REDIS_URL);
const [key, secret] = process.env.TRANSFER_SIGNING_KEY.split(":"), transfer_id = randomUUID();
const intent = JSON.stringify({ transfer_id, call_id, destination, expires_at: new Date(Date.now() + 15_000) });
const signature = `${key}:${createHmac("sha256", secret).update(intent).digest("hex")}`; // of the text, as it is sent
const head = { "content-type": "application/json", "content-encoding": "utf-8", headers: { task: "transfer_tasks.transfer_call", id: transfer_id } };
const properties = { delivery_tag: transfer_id, delivery_info: { exchange: "", routing_key: "transfers" } };
const message = JSON.stringify({ ...head, properties, body: JSON.stringify([[], { intent, signature }, {}]) });
const command = (...words) => `*${words.length}\r\n` + words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("");
const login = url.password ? command("AUTH", url.username || "default", decodeURIComponent(url.password)) : "";
const redis = connect(url.port || 6379, url.hostname, () => redis.end(login + command("LPUSH", "transfers", message)));
redis.on("data", (said) => /^-/m.test(said) && process.exit(console.error(`${said}`) ?? 1)).on("end", () => console.log(transfer_id));

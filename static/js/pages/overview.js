import "../lib/nonce.js";

// The one nonce under which this page may add style elements (Content-Security-Policy, style-src-elem).
export const nonce = document.querySelector("link[nonce]")?.nonce ?? "";

// One subscription over graphql-transport-ws, which comes back by itself after the connection was lost.
// onNext gets each result's payload, onState "open" or "lost". Returns a function that ends it.
export function subscribe({ query, variables, token, onNext, onError = () => {}, onState = () => {} }) {
  let socket, ended = false, pause = 500;
  const connect = () => {
    const url = new URL("/graphql", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    socket = new WebSocket(url, "graphql-transport-ws");
    const send = (message) => socket.send(JSON.stringify(message));
    socket.onopen = () =>
      send({ type: "connection_init", payload: token ? { authorization: `Bearer ${token}` } : {} });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "connection_ack") {
        pause = 500;
        onState("open");
        send({ id: "1", type: "subscribe", payload: { query, variables } });
      } else if (message.type === "ping") send({ type: "pong" });
      else if (message.type === "next") onNext(message.payload);
      else if (message.type === "error") { onError(message.payload); end(); }
      else if (message.type === "complete") end();
    };
    socket.onclose = () => {
      if (ended) return;
      onState("lost");
      setTimeout(connect, pause);
      pause = Math.min(pause * 2, 15000);
    };
  };
  const end = () => { ended = true; socket.close(1000); };
  connect();
  return end;
}

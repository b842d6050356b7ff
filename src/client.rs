//! The client of the API server: kube's, for which nothing that somebody stored is nested too deep to be read.

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Bytes};
use hyper::header::CONTENT_TYPE;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::util::MapResponseLayer;

use crate::nesting::Cutter;

/// # Errors
/// The configuration names no server, or credentials that cannot be used.
pub fn client(config: Config) -> Result<Client, kube::Error> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&MapResponseLayer::new(shallow)).build())
}

/// Lists, objects and events are all JSON; whatever else there is stays as it came.
fn shallow<B: Body<Data = Bytes>>(response: Response<B>) -> Response<impl Body<Data = Bytes, Error = B::Error>> {
    let kind = response.headers().get(CONTENT_TYPE);
    let mut cutter = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")).then(Cutter::default);
    response.map(|body| {
        body.map_frame(move |frame| {
            frame.map_data(|piece| match &mut cutter {
                Some(cutter) => cutter.cut(piece),
                None => piece,
            })
        })
    })
}

//! GENERATED: the shapes.
use crate::guard::MessageShape;
pub(crate) fn request(_key: i16) -> Option<&'static MessageShape> {
    None
}
pub(crate) fn response(_key: i16) -> Option<&'static MessageShape> {
    None
}

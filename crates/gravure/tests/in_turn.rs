//! Rounding layer by layer: bytes that do not depend on threads, and refusals.

mod common;

use std::path::Path;

use gravure::mixtures::{self, MixtureRequest};
use gravure::{CalibrationText, Order, PlanSource, QuantizeRequest, Quiet, quantize};
use gravure_testing::tiny_model::{Options, write};

fn request(folder: &Path, name: &str) -> QuantizeRequest {
    let plan = PlanSource::Mixture(MixtureRequest::new(mixtures::find("q4_0").unwrap()));
    let mut request = QuantizeRequest::new(folder.join("model"), folder.join(name), plan);
    request.method = Some("gptq".to_owned());
    request.calibration = Some(CalibrationText { context: 32, windows: Some(4), ..CalibrationText::new(folder.join("text.txt")) });
    request
}

#[test]
fn layers_are_rounded_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write("llama", &Options::default(), &folder.join("model")).unwrap();
    let text: String = (0..2000).map(|i| if i % 7 == 0 { ' ' } else { char::from(b'a' + (i * i % 26) as u8) }).collect();
    std::fs::write(folder.join("text.txt"), text).unwrap();
    let bytes = |name: &str, order: Option<Order>, threads: usize| {
        let request = QuantizeRequest { order, threads, ..request(folder, name) };
        let outcome = quantize(&request, &Quiet).unwrap();
        assert_eq!(outcome.plan.plan.order, order.unwrap_or_default());
        std::fs::read(folder.join(name)).unwrap()
    };
    let apart = bytes("apart.gguf", None, 2);
    let one = bytes("one.gguf", Some(Order::InTurn), 1);
    let two = bytes("two.gguf", Some(Order::InTurn), 2);
    assert!(one == two, "bytes depend on the number of threads");
    assert!(one.len() == apart.len() && one != apart);
    // The plan holds the order: fed back it gives the same file.
    let plan = gravure::plan_quantize(&QuantizeRequest { order: Some(Order::InTurn), ..request(folder, "three.gguf") }).unwrap().plan;
    let again = QuantizeRequest { plan: PlanSource::Given(plan), method: None, ..request(folder, "three.gguf") };
    quantize(&again, &Quiet).unwrap();
    assert!(std::fs::read(folder.join("three.gguf")).unwrap() == one);

    let refused = |request: QuantizeRequest| quantize(&request, &Quiet).unwrap_err().to_string();
    let order = Some(Order::InTurn);
    let blind = refused(QuantizeRequest { order, method: None, ..request(folder, "no.gguf") });
    assert!(blind.contains("see the inputs"), "{blind}");
    let unseen = refused(QuantizeRequest { order, calibration: None, ..request(folder, "no.gguf") });
    assert!(unseen.contains("needs a text"), "{unseen}");
    assert!(!folder.join("no.gguf").exists());
}

//! The roofline: operations a second over operations for each byte (Williams, Waterman and Patterson, 2009).

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Result;
use crate::report::{Measured, Report};

/// Colours of the kinds of cases.
const KINDS: [(&str, RGBColor); 3] =
    [("gemv", RGBColor(31, 119, 180)), ("gemm", RGBColor(214, 39, 40)), ("attention", RGBColor(44, 160, 44))];
const SIZE: (u32, u32) = (1100, 700);

/// Draws it.
pub(crate) fn draw(report: &Report, path: &Path) -> Result<()> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    plot(report, &area)?;
    Ok(area.present()?)
}

/// Draws it for nobody, and sees whether every case is there.
pub(crate) fn test(report: &Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("roofline.svg");
    draw(report, &path)?;
    let (circles, expected) =
        (std::fs::read_to_string(path)?.matches("<circle").count(), report.rows.len() + KINDS.len());
    if circles == expected { Ok(()) } else { Err(format!("the roofline has {circles} circles of {expected}").into()) }
}

fn plot(report: &Report, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<()> {
    let Measured { read, copy, byte_operations, matrix_operations } = report.ceilings;
    let intensities = || report.rows.iter().map(|row| row.intensity());
    let least = intensities().fold(1.0, f64::min) / 2.0;
    let most = (2.0 * matrix_operations / read).max(2.0 * intensities().fold(1.0, f64::max));
    let speeds = report.rows.iter().map(|row| row.operations_per_second);
    let (slowest, fastest) = (speeds.fold(least * read, f64::min) / 2.0, 2.0 * matrix_operations.max(byte_operations));
    let note = if report.smoke { " - tiny shapes, whose times mean nothing" } else { "" };
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}{note}", report.device.name), ("sans-serif", 22))
        .margin(15)
        .x_label_area_size(55)
        .y_label_area_size(90)
        .build_cartesian_2d((least..most).log_scale(), (slowest..fastest).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("operations for each byte of memory (a product and a sum are two)")
        .y_desc("operations a second")
        .label_style(("sans-serif", 17))
        .axis_desc_style(("sans-serif", 19))
        .y_label_formatter(&|speed| format!("{speed:.0e}"))
        .draw()?;
    let slopes = [("read", read, 1.0), ("copy", copy, 0.4)];
    for (name, bandwidth, strength) in slopes {
        let style = BLACK.mix(strength).stroke_width(2);
        let line = [least, fastest / bandwidth].map(|x| (x, (x * bandwidth).min(fastest)));
        let label = format!("{name}: {:.1} GB/s", bandwidth / 1e9);
        let line = chart.draw_series(LineSeries::new(line, style))?;
        line.label(label).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    let roofs = [("tensor cores", matrix_operations, 1.0), ("products of bytes", byte_operations, 0.4)];
    for (name, speed, strength) in roofs {
        let style = MAGENTA.mix(strength).stroke_width(2);
        let line = chart.draw_series(LineSeries::new([(speed / read, speed), (most, speed)], style))?;
        line.label(format!("{name}: {:.2} Tops/s", speed / 1e12))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    for (kind, colour) in KINDS {
        let rows = report.rows.iter().filter(|row| row.kind == kind);
        let points = rows.map(|row| Circle::new((row.intensity(), row.operations_per_second), 4, colour.filled()));
        let points = chart.draw_series(points)?;
        points.label(kind).legend(move |(x, y)| Circle::new((x + 10, y), 4, colour.filled()));
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 17))
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK)
        .draw()?;
    Ok(())
}

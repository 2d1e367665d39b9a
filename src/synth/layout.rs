//! Where the tables lie and which columns they have: those of MIMIC-IV 3.1 and MIMIC-CXR-JPG 2.1.0
//! (`reference/open-data.md`).

use super::films::LABELS;
use super::physiology::LATENT_NAMES;

/// Paths of the tables under the ward's folder, without `.csv.gz`, and their headers.
pub(super) const TABLES: [(&str, &str); 14] = [
    ("mimiciv/hosp/patients", "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod"),
    (
        "mimiciv/hosp/admissions",
        "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,\
         admission_location,discharge_location,insurance,language,marital_status,race,edregtime,\
         edouttime,hospital_expire_flag",
    ),
    (
        "mimiciv/hosp/labevents",
        "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,\
         value,valuenum,valueuom,ref_range_lower,ref_range_upper,flag,priority,comments",
    ),
    ("mimiciv/hosp/diagnoses_icd", "subject_id,hadm_id,seq_num,icd_code,icd_version"),
    ("mimiciv/hosp/d_labitems", "itemid,label,fluid,category"),
    ("mimiciv/hosp/transfers", "subject_id,hadm_id,transfer_id,eventtype,careunit,intime,outtime"),
    (
        "mimiciv/icu/icustays",
        "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los",
    ),
    (
        "mimiciv/icu/chartevents",
        "subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valuenum,\
         valueuom,warning",
    ),
    (
        "mimiciv/icu/d_items",
        "itemid,label,abbreviation,linksto,category,unitname,param_type,lownormalvalue,\
         highnormalvalue",
    ),
    (
        "mimic-cxr-jpg/mimic-cxr-2.0.0-metadata",
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,\
         StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,\
         PatientOrientationCodeSequence_CodeMeaning",
    ),
    ("mimic-cxr-jpg/mimic-cxr-2.0.0-chexpert", "subject_id,study_id,{labels}"),
    ("mimic-cxr-jpg/mimic-cxr-2.0.0-split", "dicom_id,study_id,subject_id,split"),
    ("truth/truth", "stay_id,hour,{latents},hypoxia,burden"),
    ("truth/stays", "stay_id,number,labelled"),
];

/// What the folder says of itself to whoever finds it.
pub(super) const README: &str = "Synthetic. No real patient, no real film: everything here was \
drawn by `nowcxr synth`. The layout is that of MIMIC-IV 3.1 (mimiciv) and MIMIC-CXR-JPG 2.1.0 \
(mimic-cxr-jpg); truth/ holds the latent severities that no model may read.\n";

/// The header of table `index`; the long lists of names come from where they are defined.
pub(super) fn header(index: usize) -> String {
    let text = TABLES[index].1;
    text.replace("{labels}", &LABELS.join(",")).replace("{latents}", &LATENT_NAMES.join(","))
}
